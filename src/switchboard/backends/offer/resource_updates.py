"""That resources of a backend changed: told at once, and of each no more often than twice a second.

Whoever hears of it reads the resource again, so the last notice counts and those before it need not be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

SPACE_S: Final = 0.5
MOST: Final = 1_000
"""Resources told of in that time, and as many that wait; notices of further ones are dropped."""

log = structlog.get_logger("switchboard.backends")


class ResourceUpdates:
    """Of one backend in this worker."""

    def __init__(self, backend: str, publish: Callable[[str], Awaitable[None]]) -> None:
        self._backend = backend
        self._publish = publish
        self._told: dict[str, float] = {}
        self._owed: dict[str, None] = {}
        self._some = asyncio.Event()
        self._dropped = 0

    async def say(self, uri: str) -> None:
        """A resource changed."""
        now = asyncio.get_running_loop().time()
        if len(self._told) >= MOST:
            self._told = {one: when for one, when in self._told.items() if now - when < SPACE_S}
        if uri not in self._owed and now - self._told.get(uri, -SPACE_S) >= SPACE_S and len(self._told) < MOST:
            self._told[uri] = now
            await self._publish(uri)
        elif uri in self._owed or len(self._owed) < MOST:
            self._owed[uri] = None
            self._some.set()
        else:
            self._dropped += 1
            if self._dropped == 1:
                log.warning("backend.updates_dropped", backend=self._backend, most=MOST, within_s=SPACE_S)

    async def keep_telling(self) -> None:
        """Tell what waits, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(SPACE_S)
            self._some.clear()
            owed, self._owed = self._owed, {}
            now = asyncio.get_running_loop().time()
            self._told = dict.fromkeys(owed, now)
            for uri in owed:
                await self._publish(uri)
