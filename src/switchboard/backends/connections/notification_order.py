"""The notifications of a backend before a result: in their order, and no more of them than fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

RESULT_WAITS_S: Final = 1.0

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
        self._open: set[int] = set()
        self._done = anyio.Event()

    def received(self, *, coalesced: bool = False) -> bool:
        """A notification was received: its task starts soon, in the order of receipt. `False` if too many wait.

        Args:
            coalesced: whether those that wait become one, so that it adds none.
        """
        if not coalesced and self._received - self._started + len(self._open) >= NOTIFICATIONS_WAITING:
            self.dropped += 1
            return False
        self._received += 1
        return True

    @asynccontextmanager
    async def handling(self) -> AsyncIterator[None]:
        """Around the work for one notification."""
        self._started += 1
        number = self._started
        self._open.add(number)
        try:
            yield
        finally:
            self._open.discard(number)
            self._done.set()
            self._done = anyio.Event()

    async def all_before_now(self) -> None:
        """Wait for the work of every notification received so far; not for long, for it may wait for a slow client."""
        last = self._received
        if self._started == last and not self._open:
            return
        with anyio.move_on_after(RESULT_WAITS_S):
            while self._started < last or any(number <= last for number in self._open):
                await self._done.wait()
