"""The notifications of a backend before a result: in their order, and no more of them than fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

from switchboard.aio import wait_for_event

STUCK_S: Final = 1.0
"""A result waits for notifications before it until none of the connection's was taken for so long."""

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
        until = loop.time() + RESULT_WAITS_S
        while any(number <= last and whose in (None, call) for number, whose in self._open.items()):
            self._done.clear()
            if loop.time() >= until or not await wait_for_event(self._done, STUCK_S):
                return
