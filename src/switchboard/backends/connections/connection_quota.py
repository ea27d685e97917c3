"""How many connections to a backend there may be in the whole fleet, and how many of them one person's.

Each worker notes its connections in Redis for as long as a lease, and renews that; so what a dead worker had is counted
no longer than its lease. Connections of several workers to one session count once. Redis being away counts as room:
each worker's own bound holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import structlog

from switchboard.aio import background
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection_key import SHARED, ConnectionKey, single_connection
from switchboard.errors import StateUnavailable
from switchboard.state import State

# KEYS all user's · ARGV member now until most most_of_user
_ENTER: Final = """
for i = 1, 2 do redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', ARGV[2]) end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 'fleet' end
  if ARGV[5] ~= '' and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'user' end
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return ''
"""

ANYBODY: Final = "*"

_ids = itertools.count(1)

log = structlog.get_logger("switchboard.backends")


@dataclass(frozen=True, slots=True)
class QuotaReached:
    """There is no room."""

    why: str
    user: str
    """A digest of the person who has too many; empty if the fleet has."""


class ConnectionQuota(Protocol):
    """Where connections are counted."""

    def member(self, key: ConnectionKey) -> str:
        """What a new connection counts as."""
        ...

    async def enter(self, key: ConnectionKey, member: str) -> QuotaReached | None:
        """Count a connection, unless there is no room."""
        ...

    async def leave(self, key: ConnectionKey, member: str) -> None:
        """It is over."""
        ...

    async def ask(self, full: QuotaReached) -> None:
        """Ask whoever has an idle connection to end it."""
        ...

    def running(self, held: Callable[[], Iterable[tuple[ConnectionKey, str]]], asked: Callable[[str], object]) -> Any:
        """A context in which the connections of `held` stay counted, and `asked` is given the `Full.user` of others."""
        ...


class Unlimited:
    """For a worker without a fleet: its own bounds are enough."""

    def member(self, key: ConnectionKey) -> str:
        """Nothing."""
        return ""

    async def enter(self, key: ConnectionKey, member: str) -> None:
        """There is room."""

    async def leave(self, key: ConnectionKey, member: str) -> None:
        """Nothing was counted."""

    async def ask(self, full: QuotaReached) -> None:
        """There is nobody."""

    @asynccontextmanager
    async def running(self, held: Any, asked: Any) -> AsyncIterator[None]:
        """Nothing to do."""
        yield


class FleetConnectionQuota:
    """Counted in Redis."""

    def __init__(self, state: State, backend: Backend) -> None:
        self._state = state
        self._backend = backend
        self._mark = secrets.token_hex(4)
        self._channel = state.keys.room_wanted(backend.place)
        self._enter = state.redis.register_script(_ENTER)

    def member(self, key: ConnectionKey) -> str:
        """A session's connections are one, whichever worker has them, and so is one for all; any other is its own."""
        if key.once or (key.kind == "shared" and not (single_connection(self._backend) and key == SHARED)):
            return f"{self._mark}-{next(_ids)}"
        return f"{key.tag}:{key.capabilities}"

    async def enter(self, key: ConnectionKey, member: str) -> QuotaReached | None:
        """Count it, or find that there is no room."""
        try:
            refused = await self._counted(key, member)
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="the count of a connection")
            return None
        bounds = self._backend.bounds
        reasons = {
            "fleet": QuotaReached(f"{bounds.connections_of_fleet} connections are open in the fleet", ""),
            "user": QuotaReached(f"{bounds.connections_per_user} connections of yours are open", digest(key.user)),
        }
        return reasons.get(refused)

    async def _counted(self, key: ConnectionKey, member: str) -> str:
        now, bounds = int(self._state.clock() * 1000), self._backend.bounds
        with self._state.guard():
            most_of_user = bounds.connections_per_user if key.user else ""
            args: list[str | int] = [
                member,
                now,
                now + self._state.timing.lease_ms,
                bounds.connections_of_fleet,
                most_of_user,
            ]
            return str(await self._enter(keys=self._keys(key), args=args))

    async def leave(self, key: ConnectionKey, member: str) -> None:
        """Count it no more."""
        try:
            with self._state.guard():
                for counted in self._keys(key):
                    await self._state.redis.zrem(counted, member)
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="the end of a connection, until its lease expires")

    async def ask(self, full: QuotaReached) -> None:
        """On the backend's channel."""
        try:
            await self._state.pubsub.publish(self._channel, full.user or ANYBODY)
        except StateUnavailable as error:
            log.info(error.event, error=str(error))

    @asynccontextmanager
    async def running(
        self, held: Callable[[], Iterable[tuple[ConnectionKey, str]]], asked: Callable[[str], object]
    ) -> AsyncIterator[None]:
        """Renew what is counted, and hear who looks for room."""
        async with background(self._keep_counted(held), self._keep_hearing(asked)):
            yield

    async def _keep_hearing(self, asked: Callable[[str], object]) -> None:
        def hear(payload: str) -> None:
            if payload:
                asked(payload)

        while True:
            try:
                async with self._state.pubsub.subscribed(self._channel, hear):
                    await anyio.sleep_forever()
            except StateUnavailable as error:
                log.info(error.event, error=str(error))

    async def _keep_counted(self, held: Callable[[], Iterable[tuple[ConnectionKey, str]]]) -> None:
        while True:
            await asyncio.sleep(self._state.timing.renew_s)
            await asyncio.gather(*(self.enter(key, member) for key, member in list(held())))

    def _keys(self, key: ConnectionKey) -> list[str]:
        keys, place = self._state.keys, self._backend.place
        return [keys.room(place), keys.room_of(place, digest(key.user))]


def digest(user: str) -> str:
    """A person, without a name in it."""
    return hashlib.sha256(user.encode()).hexdigest()[:16] if user else ""
