"""Ends the children of a worker that was killed without a chance to do so itself.

One small process for each worker that has children. It holds the reading end of a pipe whose writing end only the
worker has; when the worker is gone, however that came, the pipe ends, and the watchdog ends every process group it was
told of. It works for grandchildren too, and on every POSIX system, unlike PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("switchboard.backends")

SCRIPT: Final = Path(__file__).with_name("watchdog_process.py")


class Watchdog:
    """The worker's end. Starts the process with the first child."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Watchdog]:
        """End the process with the worker."""
        try:
            yield self
        finally:
            if self._pipe is not None:
                os.close(self._pipe)
                self._pipe = None
            if self._process is not None:
                await asyncio.to_thread(self._process.wait)
                self._process = None

    @property
    def pid(self) -> int | None:
        """Its process, once there is one."""
        return None if self._process is None else self._process.pid

    def guard(self, group: int) -> None:
        """Have a process group ended if this worker vanishes."""
        self._groups.add(group)
        if self._pipe is None:
            self._start()
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """The group is gone; its number may be somebody else's soon."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def _start(self) -> int:
        reading, self._pipe = os.pipe()
        try:
            # Its own session, so that neither a terminal's Ctrl-C nor a signal to the worker's group ends it first.
            self._process = subprocess.Popen(  # noqa: S603 (our own script)
                [sys.executable, "-I", "-S", str(SCRIPT)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={},
            )
        finally:
            os.close(reading)
        return self._pipe

    def _tell(self, line: str) -> None:
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            log.warning("backend.watchdog_restarted")
            self._restart()

    def _restart(self) -> None:
        """Somebody ended it: another one guards what there is."""
        if self._pipe is not None:
            os.close(self._pipe)
        if self._process is not None:
            self._process.poll()
        pipe = self._start()
        with contextlib.suppress(BrokenPipeError):
            os.write(pipe, "".join(f"+{group}\n" for group in self._groups).encode())
