"""A child process in a process group of its own: started, its standard error kept, and its whole group ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from switchboard.backends.config import Stdio
from switchboard.backends.errors import Broken
from switchboard.backends.transports.child_environment import environment
from switchboard.backends.transports.watchdog import Watchdog

log = structlog.get_logger("switchboard.backends")

CHUNK: Final = 65_536
POLL_S: Final = 0.02
LINE_CHARS: Final = 500
KEPT_LINES: Final = 20
REASON_CHARS: Final = 1_200
STACK_FRAME: Final = re.compile(r"\s*(   at \S.*|\^+|[{}]|node:internal/.*|throw .*;)\s*$")
"""Lines of a stack trace."""

LOGGED_PER_S: Final = 10


class StderrTail:
    """What a child wrote to its standard error, the end of it; a flood costs neither memory nor log."""

    def __init__(self, backend: str, is_quiet: Callable[[], bool]) -> None:
        self._backend = backend
        self._is_quiet = is_quiet
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._second = 0
        self._in_second = 0
        self.suppressed = 0

    def __str__(self) -> str:
        """Without where in its code it was: what matters stands before and after that."""
        said = " | ".join(line for line in self._lines if not STACK_FRAME.match(line))
        return said if len(said) <= REASON_CHARS else f"{said[: REASON_CHARS // 2]} … {said[-REASON_CHARS // 2 :]}"

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read to the end."""
        rest = b""
        while chunk := await stream.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-LINE_CHARS:]
            for line in lines[-KEPT_LINES:]:
                self._note(line)
            self.suppressed += max(0, len(lines) - KEPT_LINES)
        if rest:
            self._note(rest)

    def _note(self, raw: bytes) -> None:
        line = raw[:LINE_CHARS].decode(errors="replace").rstrip()
        if not line:
            return
        self._lines.append(line)
        now = int(asyncio.get_running_loop().time())
        if now != self._second:
            self._second, self._in_second = now, 0
        self._in_second += 1
        if self._in_second <= LOGGED_PER_S:
            (log.debug if self._is_quiet() else log.info)("backend.stderr_written", backend=self._backend, line=line)
        else:
            self.suppressed += 1


class Child:
    """A running child."""

    def __init__(self, process: asyncio.subprocess.Process, stderr: StderrTail) -> None:
        self.process = process
        self.stderr = stderr

    @property
    def exit_reason(self) -> str:
        """How it ended, and what it wrote to standard error before."""
        code = self.process.returncode
        how = "is still running" if code is None else f"ended by signal {-code}" if code < 0 else f"exited with {code}"
        return f"{how}: {self.stderr}" if str(self.stderr) else how

    async def gone(self, seconds: float | None = None) -> bool:
        """Wait until it ended. Looks instead of `wait()`, which also waits for pipes that a grandchild keeps open."""
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while self.process.returncode is None:
            if until is not None and loop.time() >= until:
                return False
            await asyncio.sleep(POLL_S if until is not None else POLL_S * 10)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


@asynccontextmanager
async def running(
    backend: str, what: Stdio, watchdog: Watchdog, patience: float, is_quiet: Callable[[], bool] = lambda: False
) -> AsyncIterator[Child]:
    """Start a child; on the way out end it and everything that it started.

    Args:
        is_quiet: whether what it says is no news: the ones before it said the same, and ended.

    Raises:
        Broken: it cannot be started.
    """
    try:
        if what.own_cwd and what.cwd is not None:
            os.makedirs(what.cwd, mode=0o700, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            what.command,
            *what.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=what.cwd,
            env=environment(what.env, os.environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise Broken(f"{what.command!r} cannot be started: {error}") from error
    watchdog.guard(process.pid)
    child = Child(process, StderrTail(backend, is_quiet))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read_stderr, child)
            try:
                yield child
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(child, patience)
                tasks.cancel_scope.cancel()
    finally:
        watchdog.release(process.pid)


async def _read_stderr(child: Child) -> None:
    if child.process.stderr is not None:
        await child.stderr.read(child.process.stderr)


async def _end(child: Child, patience: float) -> None:
    """Close its input, wait, SIGTERM, wait, SIGKILL.

    https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#stdio
    """
    if child.process.stdin is not None:
        child.process.stdin.close()
    if not await child.gone(patience):
        child.signal(signal.SIGTERM)
        await child.gone(patience)
    child.signal(signal.SIGKILL)  # also what it left behind in its group
    if not await child.gone(patience):
        log.error("backend.child_not_ended", pid=child.process.pid)
    # A grandchild outside the group may hold the pipes open: closing our ends is the only thing left to do.
    transport = getattr(child.process, "_transport", None)
    if transport is not None:
        transport.close()
