"""Open the shared state: a Redis by URL, or `memory://` inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from redis.asyncio import Redis

from switchboard.state.away import AWAY, unavailable
from switchboard.state.hub import Hub
from switchboard.state.keys import Keys
from switchboard.state.replicas import Replicas
from switchboard.state.scripts import STREAM_BYTES, Scripts
from switchboard.state.servers import POOL, server

Kind = Literal["memory://", "redis"]

WAIT_MS: Final = 100
"""How long to wait for replicas, when nothing else is said."""


@dataclass(frozen=True)
class State:
    """The open shared state of this worker."""

    redis: Redis
    hub: Hub
    keys: Keys
    scripts: Scripts
    replicas: Replicas
    kind: Kind

    @property
    def prefix(self) -> str:
        """What every key starts with; empty unless the server is shared."""
        return self.keys.prefix

    @staticmethod
    @contextmanager
    def guard() -> Iterator[None]:
        """For the commands inside: "Redis is away" is `StateUnavailable`, "no connection is free" `StateBusy`."""
        try:
            yield
        except AWAY as error:
            raise unavailable(error) from error


@asynccontextmanager
async def open_state(
    url: str | None,
    *,
    prefix: str = "",
    connections: int = POOL,
    wait_replicas: int = 0,
    wait_ms: int = WAIT_MS,
    stream_bytes: int = STREAM_BYTES,
) -> AsyncIterator[State]:
    """Connect, start the hub, and yield the state; everything is closed on the way out.

    Args:
        url: see `switchboard.state.servers`; `None` for `memory://`, which one process alone can see.
        prefix: what every key and channel starts with, for a Redis server shared with others.
        connections: how many there may be for commands; who finds all in use waits for one.
        wait_replicas: how many replicas must have a write that must last; none for `memory://`.
        wait_ms: how long to wait for them.
        stream_bytes: how much one stream may hold for replay.
    """
    opened = server(url, connections)
    try:
        async with Hub(opened.redis, opened.places).running() as hub:
            replicas = Replicas(opened.redis, prefix, wait_replicas if url else 0, wait_ms)
            kind: Kind = "redis" if url else "memory://"
            yield State(opened.redis, hub, Keys(prefix), Scripts(opened.redis, stream_bytes), replicas, kind)
    finally:
        await opened.close()
