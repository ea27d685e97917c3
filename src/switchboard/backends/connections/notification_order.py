"""What a backend says in between, in its order and in bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

OVERTAKING_S: Final = 1.0

MOST: Final = 1_000
"""Notifications of one connection that wait for a slow client; further ones are dropped, but for progress: of that
the newest is kept for each call."""


class NotificationOrder:
    """Keeps a result from overtaking the notifications that came before it, each of which has a task of its own."""

    def __init__(self) -> None:
        self.dropped = 0
        """Notifications that nobody could hear as fast as they came."""
        self._came = 0
        self._begun = 0
        self._open: set[int] = set()
        self._done = anyio.Event()

    def came(self, *, coalesced: bool = False) -> bool:
        """A notification was received: its task starts soon, in the order of receipt. `False` if there is no room.

        Args:
            coalesced: whether those that wait become one, so that it needs no room.
        """
        if not coalesced and self._came - self._begun + len(self._open) >= MOST:
            self.dropped += 1
            return False
        self._came += 1
        return True

    @asynccontextmanager
    async def hearing(self) -> AsyncIterator[None]:
        """Around the work for one notification."""
        self._begun += 1
        number = self._begun
        self._open.add(number)
        try:
            yield
        finally:
            self._open.discard(number)
            self._done.set()
            self._done = anyio.Event()

    async def all_before_now(self) -> None:
        """Wait for the work of every notification received so far; not for long, for it may wait for a slow client."""
        last = self._came
        with anyio.move_on_after(OVERTAKING_S):
            while self._begun < last or any(number <= last for number in self._open):
                await self._done.wait()
