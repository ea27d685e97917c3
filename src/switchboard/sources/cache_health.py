"""Whether servers can be installed: the folder for that can be written, and has room."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from switchboard.aio import background

LEAST_FREE: Final = 64 * 1024 * 1024
"""Bytes below which hardly anything can be installed."""

EVERY_S: Final = 10.0
"""How often a worker looks."""

INSTALLED: Final = frozenset({"npm", "pypi", "git", "local"})
"""The sources that need the folder."""

_PROBE: Final = b"\0" * 65_536


log = structlog.get_logger(__name__)


def unusable(folder: Path) -> str:
    """Why nothing can be installed in the folder; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}; set CACHE_DIR"
    if free < LEAST_FREE:
        return f"{folder} has {free >> 20} MiB left, too little to install servers: make room, or set CACHE_DIR"
    return ""


class CacheWatch:
    """The folder as a worker knows it: looked at now and then, while there is a server that needs it.

    Args:
        needed: whether there is.
    """

    def __init__(self, folder: Path, needed: Callable[[], bool]) -> None:
        self._folder = folder
        self._needed = needed
        self.problem = ""
        """Why nothing can be installed, when it was looked at last."""

    async def look(self) -> None:
        """Look now; what changed is said in the log."""
        before, self.problem = self.problem, ""
        if self._needed():
            self.problem = await asyncio.to_thread(unusable, self._folder)
        if self.problem and not before:
            log.warning("cache.unusable", reason=self.problem)

    def warnings(self) -> Iterator[str]:
        """What to warn of."""
        if self.problem:
            yield f"Servers cannot be installed: {self.problem}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep looking until the context ends."""
        async with background(self._keep_looking()):
            yield

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)
