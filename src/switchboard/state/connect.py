"""Open the shared state: a Redis by URL, or `memory://` inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from fakeredis import FakeAsyncRedis, FakeServer
from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from switchboard.errors import StateUnavailable
from switchboard.state.cancellation import heeding
from switchboard.state.hub import Hub
from switchboard.state.keys import Keys
from switchboard.state.scripts import Scripts

AWAY = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.ReadOnlyError,
    redis_errors.OutOfMemoryError,
)
"""What redis-py raises when the server cannot serve now, as opposed to when a command is wrong."""

POOL = 64
COMMAND_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class State:
    """The open shared state of this worker."""

    redis: Redis
    hub: Hub
    keys: Keys
    scripts: Scripts
    kind: Literal["memory://", "redis"]

    @property
    def prefix(self) -> str:
        """What every key starts with; empty unless the server is shared."""
        return self.keys.prefix

    @staticmethod
    @contextmanager
    def guard() -> Iterator[None]:
        """Turn "Redis is away" into `StateUnavailable` for the commands inside."""
        try:
            yield
        except AWAY as error:
            raise StateUnavailable(str(error)) from error


def _client(url: str) -> Redis:
    pool: Any = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=POOL,
        timeout=COMMAND_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # a script that timed out may have run: repeating it is the caller's choice
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def open_state(url: str | None, *, prefix: str = "") -> AsyncIterator[State]:
    """Connect, start the hub, and yield the state; everything is closed on the way out.

    Args:
        url: `redis://…` or `rediss://…`; `None` for `memory://`, which one process alone can see.
        prefix: what every key and channel starts with, for a Redis server shared with others.
    """
    redis = _client(url) if url else FakeAsyncRedis(server=FakeServer(), decode_responses=True, protocol=2)
    pool: Any = redis.connection_pool
    pool.connection_class = heeding(pool.connection_class)
    keys = Keys(prefix)
    try:
        async with Hub(redis).running() as hub:
            yield State(redis, hub, keys, Scripts(redis), "redis" if url else "memory://")
    finally:
        await redis.aclose()
        if url:
            await redis.connection_pool.disconnect()
