"""One worker at a time: whoever else wants to do the same waits, and then looks whether it is done."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from switchboard.aio import background
from switchboard.errors import StateBusy, StateUnavailable
from switchboard.fleet.leases import Lease

if TYPE_CHECKING:
    from switchboard.state.connect import State

FIRST_LOOK_S: Final = 0.03
SLOWEST_LOOK_S: Final = 0.5
"""How often it is looked whether a lease is free: sooner at first, since most are held for one request."""


class FleetLocks:
    """Locks among the workers of a fleet, by name. A worker that dies holds its lock until its lease ends.

    Args:
        worker: who holds, for people who look.
    """

    def __init__(self, state: State, worker: str) -> None:
        self._state = state
        self._worker = worker

    @asynccontextmanager
    async def hold(self, *name: str) -> AsyncIterator[Lease]:
        """Wait until no other worker has this lock, and have it for the body; it is renewed as long as that takes.

        Raises:
            StateBusy: others have it for longer than a dead worker could.
            StateUnavailable: Redis cannot be reached.
        """
        digest = hashlib.sha256("\\0".join(name).encode()).hexdigest()[:32]
        lease = Lease(self._state, self._state.keys.lock(digest), self._worker)
        timing = self._state.timing
        pause, waited = FIRST_LOOK_S, 0.0
        while not await lease.claim():
            if waited > 2 * timing.lease_s:
                raise StateBusy("Another worker is at it for too long; try again in a moment")
            await asyncio.sleep(pause)
            waited += pause
            pause = min(SLOWEST_LOOK_S, pause * 1.5)
        try:
            async with background(self._renew(lease)):
                yield lease
        finally:
            with suppress(StateUnavailable):  # it ends by itself
                await lease.release()

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._state.timing.renew_s)
            with suppress(StateUnavailable):
                await lease.claim()
