"""What a wake-up costs a Redis Cluster by plain PUBLISH, which goes to every node, and by SPUBLISH, which goes to one.

Three masters and three replicas; each wake-up names a channel of its own, as sessions do. Nobody listens: what is
measured is what the nodes tell each other. `python scratch/bench/cluster_wakeups.py`
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import redis
from redis.cluster import RedisCluster as Client

from tools.fleet.children import LOOPBACK
from tools.fleet.redis_cluster import MASTERS, RedisCluster, running_cluster

WAKE_UPS = 20_000
BATCH = 200
KINDS = {"PUBLISH": "publish", "SPUBLISH": "publishshard"}


def main() -> None:
    """Print a table: a row for each way."""
    with tempfile.TemporaryDirectory() as folder, running_cluster(Path(folder)) as cluster:
        print("| by | messages between nodes for each wake-up | CPU of all nodes for each wake-up | of the busiest |")
        print("|---|---|---|---|")
        for command, counted in KINDS.items():
            before = [_spent(cluster, port, counted) for port in cluster.ports]
            _wake(cluster, command)
            time.sleep(1)  # what is still on its way between the nodes belongs to it
            after = [_spent(cluster, port, counted) for port in cluster.ports]
            sent = sum(a[0] - b[0] for a, b in zip(after, before, strict=True))
            cpu = [a[1] - b[1] for a, b in zip(after, before, strict=True)]
            each = 1_000_000 / WAKE_UPS
            print(f"| {command} | {sent / WAKE_UPS:.1f} | {sum(cpu) * each:.1f} µs | {max(cpu) * each:.1f} µs |")


def _wake(cluster: RedisCluster, command: str) -> None:
    """Publish, each wake-up at the master of its channel's slot, as our scripts do."""
    client: Any = Client(LOOPBACK, cluster.ports[0])
    nodes = {port: redis.Redis(LOOPBACK, port) for port in cluster.ports[:MASTERS]}
    queued: dict[int, list[str]] = {port: [] for port in nodes}
    for number in range(WAKE_UPS):
        channel = f"mcp:shttp:toclient:{{{number:048x}}}:s"
        queued[client.get_node_from_key(channel).port].append(channel)
    for port, channels in queued.items():
        for start in range(0, len(channels), BATCH):
            pipe: Any = nodes[port].pipeline(transaction=False)
            for channel in channels[start : start + BATCH]:
                pipe.execute_command(command, channel, "1")
            pipe.execute()
    client.close()


def _spent(cluster: RedisCluster, port: int, counted: str) -> tuple[int, float]:
    """Messages of that kind that the node has sent, and the seconds of CPU it has used."""
    with redis.Redis(LOOPBACK, port, decode_responses=True) as node:
        info: Any = node.cluster("info")
        cpu: Any = node.info("cpu")
    return int(info.get(f"cluster_stats_messages_{counted}_sent", 0)), cpu["used_cpu_user"] + cpu["used_cpu_sys"]


if __name__ == "__main__":
    main()
