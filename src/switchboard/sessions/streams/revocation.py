"""Ends what is open for a token when the token is revoked: streams of either era, and answers to POSTs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger("switchboard.sessions")

RECHECK_S: Final = 5.0
"""How long anything may outlive its token (AUTH row 10)."""

AT_ONCE: Final = 50
"""Tokens that are checked at the same time."""

StillValid = Callable[[], Awaitable[bool]]


class Revocation:
    """Checks the tokens of all that is open on this worker."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[StillValid, Callable[[], None]]] = {}

    @contextmanager
    def ending(self, still_valid: StillValid | None, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called when the token is no longer valid; without a token, never."""
        if still_valid is None:
            yield
            return
        opened = object()
        self.add(opened, still_valid, end)
        try:
            yield
        finally:
            self.remove(opened)

    def add(self, opened: object, still_valid: StillValid | None, end: Callable[[], None]) -> None:
        """As `ending`, until `remove` is called for `opened`."""
        if still_valid is not None:
            self._open[opened] = still_valid, end

    def remove(self, opened: object) -> None:
        """What was added has ended."""
        self._open.pop(opened, None)

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(RECHECK_S)
            opened = list(self._open)
            for start in range(0, len(opened), AT_ONCE):
                await asyncio.gather(*map(self._check, opened[start : start + AT_ONCE]))

    async def _check(self, opened: object) -> None:
        still_valid, end = self._open.get(opened, (None, None))
        if still_valid is None or end is None or await still_valid():
            return
        if self._open.pop(opened, None) is not None:
            log.info("stream.revoked")
            end()
