"""Waiting for replicas: what a failover may lose, bounded where it matters.

Redis replicates after it has answered, so a master that dies takes with it what it had not yet passed on. With
`REDIS_WAIT_REPLICAS`, a write that must last (a session, the last frame of a reply, a token) is answered only once that
many replicas have it. WAIT does not undo anything: when they do not answer in time, the write stands, and we go on and
say so. (https://redis.io/docs/latest/commands/wait/)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from switchboard.state.redis_compat import AWAY

BARRIER_MS: Final = 1_000
"""How long the key lives that a wait writes."""

log = structlog.get_logger("switchboard.state")


class Replicas:
    """The replicas of one Redis, or of each master of a Cluster.

    Args:
        count: how many must have a write; 0 waits for none.
        patience_ms: how long to wait for them.
    """

    def __init__(self, redis: Redis, prefix: str, count: int, patience_ms: int) -> None:
        self._redis: Any = redis
        self._prefix = prefix
        self._count = count
        self._patience_ms = patience_ms
        self.behind = 0
        """Writes in a row that too few replicas confirmed in time."""

    async def hold(self, key: str) -> bool:
        """Wait until the replicas have all that was written to the slot of `key` before; `False` when they do not."""
        if not self._count:
            return True
        try:
            reached = await self._reached(key)
        except AWAY as error:  # the write was answered: it is there, as far as anybody knows
            log.debug("redis.away", error=str(error))
            reached = 0
        self._note(reached)
        return reached >= self._count

    def warnings(self) -> Iterator[str]:
        """What to warn of."""
        if self.behind:
            yield (
                f"REDIS_WAIT_REPLICAS is {self._count}, but too few replicas confirmed the last {self.behind} writes"
                f" within {self._patience_ms} ms: if the master fails now, they may be lost"
            )

    async def _reached(self, key: str) -> int:
        """WAIT heeds the writes of its own connection only: so one of ours goes first, and replicas keep the order."""
        barrier = f"{self._prefix}barrier:{{{_tag(key)}}}"
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(barrier, "1", px=BARRIER_MS)
        where = (
            {"target_nodes": self._redis.get_node_from_key(barrier)} if isinstance(self._redis, RedisCluster) else {}
        )
        pipe.execute_command("WAIT", self._count, self._patience_ms, **where)
        return int((await pipe.execute())[1])

    def _note(self, reached: int) -> None:
        if reached < self._count:
            if not self.behind:
                log.warning("redis.replicas_behind", wanted=self._count, reached=reached, waited_ms=self._patience_ms)
            self.behind += 1
        elif self.behind:
            log.info("redis.replicas_back", writes=self.behind)
            self.behind = 0


def _tag(key: str) -> str:
    """What decides the slot of a key (Redis Cluster specification, "Hash tags")."""
    inside = key.partition("{")[2].partition("}")[0]
    return inside or key
