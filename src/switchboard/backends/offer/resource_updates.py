"""Notices that resources of a backend changed: passed on at once, of each no more often than twice a second.

A client that gets one reads the resource again, so the last notice counts and those before it need not be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

UPDATE_SPACING_S: Final = 0.5
UPDATES_WAITING: Final = 1_000
"""Resources told of in that time, and as many that wait; notices of further ones are dropped."""

log = structlog.get_logger("switchboard.backends")


class ResourceUpdates:
    """Of one backend in this worker."""

    def __init__(self, backend: str, publish: Callable[[str], Awaitable[None]]) -> None:
        self._backend = backend
        self._publish = publish
        self._published_at: dict[str, float] = {}
        self._waiting: dict[str, None] = {}
        self._some = asyncio.Event()
        self._dropped = 0

    async def report(self, uri: str) -> None:
        """A resource changed."""
        now = asyncio.get_running_loop().time()
        if len(self._published_at) >= UPDATES_WAITING:
            self._published_at = {
                one: when for one, when in self._published_at.items() if now - when < UPDATE_SPACING_S
            }
        if (
            uri not in self._waiting
            and now - self._published_at.get(uri, -UPDATE_SPACING_S) >= UPDATE_SPACING_S
            and len(self._published_at) < UPDATES_WAITING
        ):
            self._published_at[uri] = now
            await self._publish(uri)
        elif uri in self._waiting or len(self._waiting) < UPDATES_WAITING:
            self._waiting[uri] = None
            self._some.set()
        else:
            self._dropped += 1
            if self._dropped == 1:
                log.warning(
                    "backend.updates_dropped", backend=self._backend, most=UPDATES_WAITING, within_s=UPDATE_SPACING_S
                )

    async def keep_publishing(self) -> None:
        """Tell what waits, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(UPDATE_SPACING_S)
            self._some.clear()
            waiting, self._waiting = self._waiting, {}
            now = asyncio.get_running_loop().time()
            self._published_at = dict.fromkeys(waiting, now)
            for uri in waiting:
                await self._publish(uri)
