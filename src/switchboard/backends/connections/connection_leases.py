"""Which worker has a child: a fenced lease in Redis for each connection that must exist once in the fleet.

A lease is renewed while the connection is wanted. A worker that could not renew for the length of a lease begins no
call on its child: by then another worker may have started one. It keeps the child until it knows, for while Redis is
away nobody can start one; and what lapsed meanwhile is taken over only once its holder has had the time to renew it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import structlog

from switchboard.aio import background
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.errors import StateUnavailable
from switchboard.fleet.leases import RELEASE
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS

DRAIN_S: Final = 5.0
"""What calls in flight get when this worker leaves, or the backend is replaced."""

CLAIM_POLL_S: Final = 0.5

REMEMBERED: Final = 4_096
"""Connections of which it is remembered which worker answered last."""

log = structlog.get_logger("switchboard.backends")

# KEYS lease had · ARGV me lease_ms had_ms settled ('1', or '0' while a holder may still have to renew)
_CLAIM: Final = """
local holder = redis.call('GET', KEYS[1])
if holder then return {holder, 0} end
local had = redis.call('EXISTS', KEYS[2])
if had == 1 and ARGV[4] == '0' then return {'', 1} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return {ARGV[1], had}
"""

# KEYS lease had · ARGV me lease_ms had_ms
_RENEW: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if holder then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[3]) end
return 1
"""


@dataclass(slots=True)
class ConnectionLease:
    """This worker's right to a connection."""

    key: ConnectionKey
    epoch: str
    renewed: float
    lost: bool
    """Whether there was a child before, whose memory is gone, and nobody was told yet."""

    connection: Connection | None = None
    users: int = 0


class ConnectionLeases:
    """The claims of one backend on this worker."""

    def __init__(self, state: State, seat: str, backend: Backend) -> None:
        self._state = state
        self._seat = seat
        self._backend = backend
        self._mine: dict[ConnectionKey, ConnectionLease] = {}
        self._answered: dict[ConnectionKey, tuple[str, float]] = {}
        """Which seat answered a call on a connection, and when."""
        self._claim = state.redis.register_script(_CLAIM)
        self._renew = state.redis.register_script(_RENEW)
        self._release = state.redis.register_script(RELEASE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew claims; give them back on the way out."""
        async with background(self._keep_renewing()):
            try:
                yield
            finally:
                await asyncio.gather(*map(self._left, list(self._mine.values())))

    def mine(self, key: ConnectionKey) -> ConnectionLease | None:
        """The claim on a connection, if this worker has it, and nobody else can have it yet."""
        claim = self._mine.get(key)
        if claim is not None and asyncio.get_running_loop().time() - claim.renewed >= self._state.timing.lease_s:
            return None
        return claim

    def seat_lately(self, key: ConnectionKey) -> str | None:
        """The seat that answered a call on a connection within the last quarter of a lease, if another worker's did.

        Whether it has the connection still is for it to say. Had it died since, its lease would still be in Redis.
        """
        seat, at = self._answered.get(key, ("", 0.0))
        fresh = asyncio.get_running_loop().time() - at < self._state.timing.lease_s / 4
        return seat if seat and fresh and key not in self._mine else None

    def note_answer(self, key: ConnectionKey, seat: str) -> None:
        """That seat answered a call on a connection."""
        if len(self._answered) >= REMEMBERED:
            self._answered.clear()
        self._answered[key] = seat, asyncio.get_running_loop().time()

    def forget_seat(self, key: ConnectionKey) -> None:
        """Whoever answered last did not this time."""
        self._answered.pop(key, None)

    async def claim(self, key: ConnectionKey) -> ConnectionLease | str:
        """This worker's claim, or the seat that has it.

        Raises:
            StateUnavailable: it cannot be known now.
        """
        if (known := self.mine(key)) is not None:
            return known
        if (lapsed := self._mine.get(key)) is not None and await self._renewed(lapsed):
            return lapsed
        while True:
            if found := await self._claimed(key):
                return found
            await asyncio.sleep(CLAIM_POLL_S)

    async def _claimed(self, key: ConnectionKey) -> ConnectionLease | str:
        """As `claim`; empty while it cannot be known whether the holder of a claim that lapsed still lives."""
        keys, lookups = self._keys(key), self._state.lookups
        if (holder := await lookups.ask("GET", keys[0])) is not None:
            return self._mine.get(key) or _seat_of(holder)
        epoch = f"{self._seat}:{secrets.token_hex(6)}"
        now = asyncio.get_running_loop().time()
        settled = "1" if self._state.contact.settled else "0"
        holder, had = await lookups.run(self._claim, keys, [epoch, self._state.timing.lease_ms, LINE_LIFE_MS, settled])
        if key in self._mine:
            return self._mine[key]
        if holder != epoch:
            return _seat_of(holder)
        claim = self._mine[key] = ConnectionLease(key, epoch, now, bool(int(had)))
        return claim

    async def is_elsewhere(self, key: ConnectionKey) -> bool:
        """Whether another worker has it.

        Raises:
            StateUnavailable: it cannot be known now.
        """
        if self.mine(key) is not None:
            return False
        with self._state.guard():
            return await self._state.redis.get(self._keys(key)[0]) is not None

    def _keys(self, key: ConnectionKey) -> list[str]:
        keys = self._state.keys
        return [
            keys.line(key.tag, self._backend.place, key.capabilities),
            keys.line_had(key.tag, self._backend.name, key.capabilities),
        ]

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._state.timing.renew_s)
            await asyncio.gather(*map(self._kept, list(self._mine.values())))

    async def _kept(self, claim: ConnectionLease) -> None:
        if not claim.users and (claim.connection is None or claim.connection.over):
            await self._given_back(claim)
            return
        try:
            await self._renewed(claim)
        except StateUnavailable as error:
            log.info(error.event, error=str(error))

    async def _renewed(self, claim: ConnectionLease) -> bool:
        """Renew it; `False`, and it is lost, when another worker has it by now."""
        now = asyncio.get_running_loop().time()
        with self._state.guard():
            kept: Any = await self._renew(
                keys=self._keys(claim.key), args=[claim.epoch, self._state.timing.lease_ms, LINE_LIFE_MS]
            )
        if kept:
            claim.renewed = now
        else:
            self._lose(claim)
        return bool(kept)

    def _lose(self, claim: ConnectionLease) -> None:
        log.warning("backend.lease_lost", backend=self._backend.name)
        if self._mine.get(claim.key) is claim:
            del self._mine[claim.key]
        if claim.connection is not None:
            claim.connection.stop()

    async def _left(self, claim: ConnectionLease) -> None:
        """End the connection before another worker may start the next: there is never more than one."""
        if claim.connection is not None:
            with anyio.move_on_after(DRAIN_S):
                await claim.connection.calls.drained()
            claim.connection.stop()
            await claim.connection.closed()
        await self._given_back(claim)

    async def _given_back(self, claim: ConnectionLease) -> None:
        self._mine.pop(claim.key, None)
        try:
            with self._state.guard():
                await self._release(keys=self._keys(claim.key)[:1], args=[claim.epoch])
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), lost="a claim, until it expires")


def _seat_of(holder: str) -> str:
    """Empty for the holder of a claim that lapsed, of whom nothing is known."""
    return holder.rpartition(":")[0]
