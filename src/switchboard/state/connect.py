"""Open the shared state: a Redis by URL, or `memory://` inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

from redis import exceptions as redis_errors
from redis.asyncio import Redis

from switchboard.errors import StateUnavailable
from switchboard.state.hub import Hub
from switchboard.state.keys import Keys
from switchboard.state.scripts import Scripts
from switchboard.state.servers import server

AWAY = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ClusterDownError,
    redis_errors.ReadOnlyError,
    redis_errors.OutOfMemoryError,
    redis_errors.RedisClusterException,
)
"""What redis-py raises when the server cannot serve now, as opposed to when a command is wrong."""


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


@asynccontextmanager
async def open_state(url: str | None, *, prefix: str = "") -> AsyncIterator[State]:
    """Connect, start the hub, and yield the state; everything is closed on the way out.

    Args:
        url: see `switchboard.state.servers`; `None` for `memory://`, which one process alone can see.
        prefix: what every key and channel starts with, for a Redis server shared with others.
    """
    opened = server(url)
    try:
        async with Hub(opened.redis, opened.subscriber).running() as hub:
            yield State(opened.redis, hub, Keys(prefix), Scripts(opened.redis), "redis" if url else "memory://")
    finally:
        await opened.close()
