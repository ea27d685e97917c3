"""Lines to a file descriptor, those of one turn of an event loop in one write.

Whoever writes a log line while an event loop runs does not wait for it: it is written at the end of this turn
of the loop, with the others of the turn, in the order in which they were put. Outside of a loop a line is written at
once. A reader that is slow or gone neither stops the process nor fails whoever logs:

| the descriptor | then |
|---|---|
| takes nothing more for now (a full pipe, EAGAIN) | lines wait, `MOST_WAITING` bytes of them; it is tried again |
| takes nothing while more than that waits | further lines are dropped, and counted |
| fails (EPIPE, ENOSPC, …) | what was being written is dropped, and counted |

What was dropped is said once writing succeeds again. Pipes, sockets and terminals are given no more at once than they
take without blocking, in whole lines where these are shorter: so processes that share a pipe do not mix their lines.
The descriptor is never made non-blocking, since others share it.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections import deque
from collections.abc import Callable
from contextvars import Context
from threading import Lock
from typing import Final

MOST_WAITING: Final = 4 * 1024 * 1024
"""Bytes of lines that wait for a slow reader."""

RETRY_S: Final = 0.05
"""Seconds after which a reader that was too slow is tried again."""

ROOM_WITHIN_S: Final = 2.0
"""Seconds that who waits for a write waits for room, each time: outside of a loop, and at the end of the process."""

_MOST_AT_ONCE: Final = 1 << 20
"""Bytes that a regular file is given in one write."""


class LineWriter:
    """Writes lines to a descriptor; any thread may put one.

    Args:
        descriptor: where to; never closed here.
        dropped: told how many lines were lost, once lines are written again.
        most: bytes that may wait.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], None], most: int = MOST_WAITING) -> None:
        self._descriptor = descriptor
        self._dropped = dropped
        self._most = most
        self._lines: deque[bytes] = deque()
        self._rest = b""
        """What is being written."""
        self._size = 0
        """Bytes that wait; nearly, for threads may count at once, and exact again whenever nothing waits."""
        self._lost = 0
        self._writing = Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None
        """The loop that writes at the end of its turn."""
        self._ready: select.poll | None = None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._ready = select.poll()
            self._ready.register(descriptor, select.POLLOUT)
        self._at_once = _MOST_AT_ONCE if self._ready is None else select.PIPE_BUF

    def put(self, line: str | bytes) -> None:
        """Write a line, given without its end, by the end of this turn of the loop."""
        if self._size > self._most:
            self._write()
            if self._size > self._most:
                self._lost += 1
                return
        encoded = line if isinstance(line, bytes) else line.encode("utf-8", "backslashreplace")
        self._lines.append(encoded)
        self._size += len(encoded) + 1
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_soon(self._turn, loop, context=Context())

    def put_now(self, line: str | bytes) -> None:
        """Write a line, and what was put before it, at once: the process may not live until the end of the turn."""
        self.put(line)
        self._write()

    def flush(self) -> None:
        """Write all that was put; waits for a slow reader as long as it reads."""
        self._write(ROOM_WITHIN_S)

    def forget(self) -> None:
        """In a forked child: what waits is its parent's to write."""
        self._lines.clear()
        self._rest, self._size, self._due_in, self._writing = b"", 0, None, Lock()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_in = None
        if not self._write() and self._due_in is None:
            self._due_in = loop
            loop.call_later(RETRY_S, self._turn, loop, context=Context())

    def _write(self, wait_s: float = 0) -> bool:
        """Write what waits, unless somebody is at it; whether nothing waits any more."""
        written = False
        while (self._rest or self._lines) and self._writing.acquire(blocking=False):
            try:
                while piece := self._rest or self._next():
                    if not self._has_room(wait_s):
                        return False
                    written |= self._write_some(piece)
            except BlockingIOError:
                return False
            finally:
                self._writing.release()
        if written and self._lost:
            lost, self._lost = self._lost, 0
            self._dropped(lost)
        return True

    def _next(self) -> bytes:
        """The lines to write next, together; empty if there are none."""
        lines: list[bytes] = []
        size = 0
        while self._lines and (not lines or size + len(self._lines[0]) < self._at_once):
            lines.append(self._lines.popleft())
            size += len(lines[-1]) + 1
        self._rest = b"\n".join((*lines, b"")) if lines else b""
        if not lines:
            self._size = 0
        return self._rest

    def _write_some(self, piece: bytes) -> bool:
        """Write as much as is taken without blocking; whether anything was."""
        try:
            count = os.write(self._descriptor, piece[: self._at_once])
        except BlockingIOError:
            raise
        except OSError:  # nobody reads, or the disk is full: a log must not fail whoever writes it
            self._lost += piece.count(b"\n")
            self._size -= len(piece)
            self._rest = b""
            return False
        self._rest = piece[count:]
        self._size -= count
        return True

    def _has_room(self, wait_s: float) -> bool:
        return self._ready is None or bool(self._ready.poll(wait_s * 1000))
