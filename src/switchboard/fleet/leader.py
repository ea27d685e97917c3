"""Which worker asks a backend what it offers: one for the fleet, and another when that one leaves or dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
import structlog

from switchboard.aio import wait_for_event
from switchboard.errors import StateUnavailable
from switchboard.fleet.leases import Lease

log = structlog.get_logger("switchboard.backends")

EARLIEST: Final = 0.75
SPREAD: Final = 0.5
"""The others look as often as a leader renews, each a little sooner or later than the next."""


class Leader(Protocol):
    """Whether this worker is the one."""

    @property
    def held(self) -> bool:
        """Whether it is now."""
        ...

    async def begun(self) -> None:
        """Wait until it is."""
        ...

    async def ended(self) -> None:
        """Wait until it is not any more."""
        ...

    async def resign(self) -> None:
        """Let another worker have it."""
        ...


class SoleLeader:
    """The lead of a worker without a fleet."""

    held = True

    async def begun(self) -> None:
        """At once."""

    async def ended(self) -> None:
        """Never."""
        await anyio.sleep_forever()

    async def resign(self) -> None:
        """There is nobody else."""


class LeaseLeader:
    """The lead under a lease.

    Args:
        vacant: set by whoever hears that the lead may be free.
        tell: tells the other workers that it is.
        may: whether this worker could do what the lead is for; else every worker can.
        dice: gives numbers between 0 and 1.
    """

    def __init__(
        self,
        lease: Lease,
        vacant: asyncio.Event,
        tell: Callable[[], Awaitable[None]],
        dice: Callable[[], float],
        may: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._lease = lease
        self._vacant = vacant
        self._tell = tell
        self._dice = dice
        self._may = may

    @property
    def held(self) -> bool:
        """By this worker's own clock."""
        return self._lease.held

    async def begun(self) -> None:
        """Try now, whenever the lead is said to be free, and every few seconds: a worker that died says nothing."""
        while not await self._taken():
            await wait_for_event(self._vacant, self._lease.timing.renew_s * (EARLIEST + SPREAD * self._dice()))

    async def _taken(self) -> bool:
        self._vacant.clear()
        return (self._may is None or await self._may()) and await self._claimed()

    async def ended(self) -> None:
        """Renew until it cannot be renewed."""
        while True:
            await asyncio.sleep(self._lease.timing.renew_s)
            if not await self._claimed():
                return

    async def resign(self) -> None:
        """Give the lease back and say so."""
        try:
            await self._lease.release()
            await self._tell()
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="the lead, until its lease expires")

    async def _claimed(self) -> bool:
        try:
            return await self._lease.claim()
        except StateUnavailable as error:
            log.info(error.event, error=str(error))
            return self._lease.held
