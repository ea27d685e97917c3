"""The notifications of a backend before a result: in their order, and no more of them than fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

from switchboard.aio import wait_for_event

LOOK_EVERY_S: Final = 0.1
STUCK_LOOKS: Final = 10
"""A result waits for notifications before it until so many looks in a row found that none of its connection was taken.
A worker that stood still itself finds the time gone by; so looks are counted."""

RESULT_WAITS_S: Final = 10.0
"""And at most for so long."""

NOTIFICATIONS_WAITING: Final = 1_000
"""Notifications of one connection that wait for a slow client; further ones are dropped, but for progress: of that
the newest is kept for each call."""


class NotificationOrder:
    """Keeps a result from overtaking the notifications that came before it, each of which has a task of its own."""

    def __init__(self) -> None:
        self.dropped = 0
        """Notifications that nobody could hear as fast as they came."""
        self._received = 0
        self._started = 0
        self._open: dict[int, Hashable] = {}
        """What was received and is not done: its number, and the call whose progress it is."""
        self._done = asyncio.Event()

    def received(self, call: Hashable = None) -> bool:
        """A notification was received: its task starts soon, in the order of receipt. `False` if too many wait.

        Args:
            call: whose progress it is, if it is progress: of that, those that wait become one, so that it adds none.
        """
        if call is None and len(self._open) >= NOTIFICATIONS_WAITING:
            self.dropped += 1
            return False
        self._received += 1
        self._open[self._received] = call
        return True

    @asynccontextmanager
    async def handling(self) -> AsyncIterator[None]:
        """Around the work for one notification."""
        self._started += 1
        number = self._started
        try:
            yield
        finally:
            self._open.pop(number, None)
            self._done.set()

    async def all_before_now(self, call: Hashable) -> None:
        """Wait until what was received so far was taken, but for other calls' progress: their clients may be slow."""
        if not self._open:
            return
        last, loop = self._received, asyncio.get_running_loop()
        until, in_vain = loop.time() + RESULT_WAITS_S, 0
        while any(number <= last and whose in (None, call) for number, whose in self._open.items()):
            self._done.clear()
            in_vain = 0 if await wait_for_event(self._done, LOOK_EVERY_S) else in_vain + 1
            if in_vain == STUCK_LOOKS or loop.time() >= until:
                return
