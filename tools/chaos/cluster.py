"""A Redis Cluster whose masters die one after the other, each while its replica has all that it has."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, Final

import redis

from tools.fleet.children import LOOPBACK, Child, start
from tools.fleet.redis_cluster import RedisCluster

TAKEOVER_S: Final = 30.0
PAUSE_S: Final = 0.02


@dataclass
class Masters:
    """The nodes by their ports; any of them may be a master by now."""

    nodes: dict[int, Child]

    @classmethod
    def of(cls, cluster: RedisCluster) -> Masters:
        """Take over a cluster that somebody else started, and will end."""
        return cls(dict(zip(cluster.ports, cluster.nodes, strict=True)))

    def fail_over(self) -> float:
        """Kill a master, wait until its replica serves, and start what was killed as the new one's replica.

        Returns the seconds from the kill to the moment in which every slot was served again.
        """
        victim = random.choice([port for port in self.nodes if self._replicated(port)])
        began = time.monotonic()
        self.nodes[victim].kill()
        others = [port for port in self.nodes if port != victim]
        _until(lambda: _moved(others))
        away = time.monotonic() - began
        self._start_again(victim)
        return away

    def _start_again(self, port: int) -> None:
        dead = self.nodes[port]
        command: Any = dead.process.args
        self.nodes[port] = start(dead.name, command, dead.log.parent)
        _until(lambda: _role(port).get("master_link_status") == "up")

    def _replicated(self, port: int) -> bool:
        role = _role(port)
        return role.get("role") == "master" and "state=online" in role.get("slave0", "")


def _moved(ports: list[int]) -> bool:
    """Whether three of these are masters again, and say that the cluster serves."""
    masters = [port for port in ports if _role(port).get("role") == "master"]
    return len(masters) == 3 and all(_info(port, "CLUSTER INFO")["cluster_state"] == "ok" for port in ports)


def _role(port: int) -> dict[str, str]:
    return _info(port, "INFO", "replication")


def _info(port: int, *command: str) -> dict[str, str]:
    """The lines of an answer, by name; nothing when the node does not answer."""
    try:
        with redis.Redis(LOOPBACK, port, decode_responses=True, socket_timeout=2) as node:
            node.response_callbacks.clear()
            answer: Any = node.execute_command(*command)
    except redis.RedisError:
        return {"cluster_state": "away"}
    return dict(line.split(":", 1) for line in str(answer).split("\r\n") if ":" in line)


def _until(holds: Any) -> None:
    deadline = time.monotonic() + TAKEOVER_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("no replica took over")
        time.sleep(PAUSE_S)
