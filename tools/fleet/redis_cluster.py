"""A real Redis Cluster of three masters and three replicas, made of processes of one's own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tools.fleet.children import LOOPBACK, Child, listens, start
from tools.fleet.redis_server import VOLATILE, find_binary

MASTERS = 3
SLOTS = 16384
BUS = 10_000
"""The cluster bus of a node listens this many ports above it."""

BLOCKS = range(17_000, 22_000, 8)
"""The first port of each cluster on this machine; its nodes have those after it. They and their bus ports are below
those that the system hands out by itself. The first is held for as long as the cluster runs: no two have the same.
"""

PATIENCE = 300


@dataclass(frozen=True)
class RedisCluster:
    """A running cluster; the masters come first."""

    ports: tuple[int, ...]
    nodes: tuple[Child, ...]

    @property
    def url(self) -> str:
        """What `REDIS_URL` would be."""
        return "redis+cluster://" + ",".join(f"{LOOPBACK}:{port}" for port in self.ports[:MASTERS])

    def flush(self) -> None:
        """Empty every master."""
        for port in self.ports:
            with redis.Redis(LOOPBACK, port) as node:
                if node.info("replication")["role"] == "master":
                    node.flushall()


@contextmanager
def running_cluster(folder: Path) -> Iterator[RedisCluster]:
    """Start a cluster, wait until every slot is served, and stop it at the end."""
    binary = find_binary()
    if binary is None:
        raise FileNotFoundError("no Redis to make a cluster of")
    with ExitStack() as stack:
        ports = stack.enter_context(_ports(2 * MASTERS))
        nodes: list[Child] = []
        stack.callback(lambda: [node.stop() for node in nodes])
        nodes.extend(_start(binary.path, folder / str(port), port) for port in ports)
        _join(ports)
        yield RedisCluster(ports, tuple(nodes))


def _start(program: str, folder: Path, port: int) -> Child:
    folder.mkdir(parents=True, exist_ok=True)
    cluster = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
    at_once = ("--repl-diskless-sync-delay", "0")
    command = [program, "--port", str(port), "--bind", LOOPBACK, "--dir", str(folder), *VOLATILE, *cluster, *at_once]
    child = start(f"redis-{port}", command, folder)
    child.wait_until(lambda: listens(port), timeout=120)
    return child


def _join(ports: tuple[int, ...]) -> None:
    clients: list[Any] = [redis.Redis(LOOPBACK, port, decode_responses=True) for port in ports]
    masters, replicas = clients[:MASTERS], clients[MASTERS:]
    for number, master in enumerate(masters):
        first, last = number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS - 1
        master.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        master.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for port in ports[1:]:
        clients[0].execute_command("CLUSTER MEET", LOOPBACK, port)
    _until(lambda: all(_info(client)["cluster_known_nodes"] == str(len(ports)) for client in clients))
    for master, replica in zip(masters, replicas, strict=True):
        replica.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID"))
    _until(lambda: all(_info(client)["cluster_state"] == "ok" for client in clients))
    _until(lambda: all(_replicated(master) for master in masters))
    _until(lambda: all(_shards_are_known(client) for client in clients))
    for client in clients:
        client.close()


def _replicated(master: Any) -> bool:
    """Whether the replica has all that the master has, so that it may take over."""
    replica = master.info("replication").get("slave0")
    return bool(replica) and replica["state"] == "online"


def _shards_are_known(client: Any) -> bool:
    """Whether the node has heard of the replica of every master."""
    nodes = client.execute_command("CLUSTER NODES").values()
    return sum("slave" in node["flags"] for node in nodes) == MASTERS


def _info(client: Any) -> dict[str, str]:
    answer = client.execute_command("CLUSTER INFO")
    return answer if isinstance(answer, dict) else dict(line.split(":", 1) for line in answer.split())


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not come up")
        time.sleep(0.05)


@contextmanager
def _ports(count: int) -> Iterator[tuple[int, ...]]:
    """Ports for nodes, whose bus ports are free too; nobody else is given them while the context is open."""
    for first in BLOCKS:
        ports = tuple(range(first + 1, first + 1 + count))
        with socket.socket() as holder:
            if _bound(holder, first) and all(_free(port) and _free(port + BUS) for port in ports):
                yield ports
                return
    raise OSError("no block of ports is free for a Redis Cluster")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return _bound(probe, port)


def _bound(holder: socket.socket, port: int) -> bool:
    try:
        holder.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
