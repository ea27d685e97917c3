"""Open the shared state: a Redis by URL, or `memory://` inside this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from redis.asyncio import Redis

from switchboard.aio import background
from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state.clock import FleetClock
from switchboard.state.contact import Contact
from switchboard.state.keys import Keys
from switchboard.state.lookups import Lookups
from switchboard.state.pubsub import PubSub
from switchboard.state.redis_compat import AWAY, unavailable
from switchboard.state.replicas import Replicas
from switchboard.state.scripts import STREAM_BYTES, Scripts
from switchboard.state.servers import POOL, server
from switchboard.telemetry.metrics import REDIS_ERRORS
from switchboard.timing import Timing

Kind = Literal["memory://", "redis"]

WAIT_MS: Final = 100
"""How long to wait for replicas, when nothing else is said."""

RETRY_S: Final = 1.0
"""How soon Redis is asked again when it did not answer."""

# KEYS any: decides which master of a Cluster is asked, so that all workers ask the same one
_TIME: Final = "return redis.call('TIME')"


@dataclass(frozen=True)
class State:
    """The open shared state of this worker."""

    redis: Redis
    lookups: Lookups
    pubsub: PubSub
    keys: Keys
    scripts: Scripts
    replicas: Replicas
    contact: Contact
    clock: FleetClock
    kind: Kind
    timing: Timing

    @property
    def prefix(self) -> str:
        """What every key starts with; empty unless the server is shared."""
        return self.keys.prefix

    @contextmanager
    def guard(self) -> Iterator[None]:
        """For the commands inside: "Redis is away" is `StateUnavailable`, "no connection is free" `StateBusy`."""
        if self.contact.given_up:
            raise StateUnavailable("Redis is away, and this worker leaves")
        try:
            yield
        except AWAY as error:
            failure = unavailable(error)
            REDIS_ERRORS.add("busy" if isinstance(failure, StateBusy) else "away")
            raise failure from error

    async def greet(self) -> None:
        """Ask Redis what time it is, and note that it answered.

        Raises:
            StateUnavailable: it did not.
        """
        asked = time.monotonic()
        with self.guard():
            seconds, micros = await self._redis_time()
        self.clock.read(asked, int(seconds) + int(micros) / 1_000_000)
        self.contact.answered()

    async def _redis_time(self) -> Any:
        return await self.redis.eval(_TIME, 1, self.keys.fingerprint())

    @asynccontextmanager
    async def in_touch(self) -> AsyncIterator[None]:
        """Greet Redis now and then, until the context ends."""
        async with background() as start:
            if self.kind != "memory://":
                start(self._keep_greeting())
            yield

    async def _keep_greeting(self) -> None:
        while True:
            try:
                await self.greet()
            except StateUnavailable:  # whoever needs Redis says so
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(self.timing.renew_s)


@asynccontextmanager
async def open_state(
    url: str | None,
    *,
    prefix: str = "",
    connections: int = POOL,
    wait_replicas: int = 0,
    wait_ms: int = WAIT_MS,
    stream_bytes: int = STREAM_BYTES,
    timing: Timing | None = None,
) -> AsyncIterator[State]:
    """Connect, start pub/sub, and yield the state; everything is closed on the way out.

    Args:
        url: see `switchboard.state.servers`; `None` for `memory://`, which one process alone can see.
        prefix: what every key and channel starts with, for a Redis server shared with others.
        connections: how many there may be for commands; who finds all in use waits for one.
        wait_replicas: how many replicas must have a write that must last; none for `memory://`.
        wait_ms: how long to wait for them.
        stream_bytes: how much one stream may hold for replay.
        timing: how long workers wait for one another; the same for all of a fleet.
    """
    opened = server(url, connections)
    timing = timing or Timing()
    contact = Contact(timing=timing, unbroken=url is None)
    try:
        async with (
            Lookups(opened.redis, opened.places if url else None, contact).running() as lookups,
            PubSub(opened.redis, opened.places, lookups, contact.broken).running() as pubsub,
        ):
            replicas = Replicas(opened.redis, prefix, wait_replicas if url else 0, wait_ms)
            scripts = Scripts(opened.redis, stream_bytes)
            kind: Kind = "redis" if url else "memory://"
            state = State(
                opened.redis, lookups, pubsub, Keys(prefix), scripts, replicas, contact, FleetClock(), kind, timing
            )
            async with state.in_touch():
                yield state
    finally:
        await opened.close()
