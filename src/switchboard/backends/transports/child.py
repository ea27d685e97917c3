"""A child process in a process group of its own: started, its pipes, and its whole group ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, cast

import anyio
import structlog

from switchboard.aio import Start, background, wait_for_event
from switchboard.backends.config import Stdio
from switchboard.backends.errors import Broken
from switchboard.backends.transports.child_environment import environment
from switchboard.backends.transports.watchdog import Watchdog

log = structlog.get_logger("switchboard.backends")

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
LINE_CHARS: Final = 500
KEPT_LINES: Final = 20
REASON_CHARS: Final = 1_200
STACK_FRAME: Final = re.compile(r"\s*(   at \S.*|\^+|[{}]|node:internal/.*|throw .*;)\s*$")
"""Lines of a stack trace."""

LOGGED_PER_S: Final = 10

LAST_WORDS_S: Final = 0.1
"""How long the end of its standard error is waited for once a child is gone: what it started may still hold that."""


class StderrTail:
    """What a child wrote to its standard error, the end of it; a flood costs neither memory nor log."""

    def __init__(self, backend: str, is_quiet: Callable[[], bool]) -> None:
        self._backend = backend
        self._is_quiet = is_quiet
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = b""
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

    def feed(self, chunk: bytes) -> None:
        """Take what was written next; empty at the end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not chunk:
            lines.append(self._rest)
        self._rest = self._rest[-LINE_CHARS:]
        for line in lines[-KEPT_LINES:]:
            self._note(line)
        self.suppressed += max(0, len(lines) - KEPT_LINES)

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


class PipeListener(Protocol):
    """Who reads from a child. Its methods run on the event loop and must not raise."""

    def received(self, chunk: bytes) -> None:
        """The child wrote to its standard output."""
        ...

    def ended(self) -> None:
        """Its standard output has ended."""
        ...

    def writable(self) -> None:
        """It reads again what it is sent."""
        ...


class Child(asyncio.SubprocessProtocol):
    """A running child and its pipes.

    What it writes to standard output goes, as it comes, to whoever called `listen`; what comes before waits for that.
    """

    _transport: asyncio.SubprocessTransport

    def __init__(self, stderr: StderrTail) -> None:
        self.stderr = stderr
        self.exited = asyncio.Event()
        """Set once it ended, whether or not what it started still has its pipes."""
        self.output_over = False
        """Whether its standard output has ended."""
        self.broken = False
        """Whether that broke."""
        self.writable = True
        """Whether it reads what it is sent: that less waits for it than the pipe and a buffer hold."""
        self._silent = asyncio.Event()
        self._early: list[bytes] = []
        self._listener: PipeListener | None = None

    @property
    def pid(self) -> int:
        """Its process, and its process group."""
        return self._transport.get_pid()

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the number of a signal below zero; `None` while it runs."""
        return self._transport.get_returncode()

    @property
    def exit_reason(self) -> str:
        """How it ended, and what it wrote to standard error before."""
        code = self.returncode
        how = "is still running" if code is None else f"ended by signal {-code}" if code < 0 else f"exited with {code}"
        return f"{how}: {self.stderr}" if str(self.stderr) else how

    async def gone(self, seconds: float | None = None) -> bool:
        """Wait until it ended, and for a moment until its standard error has; whether it did in so many seconds."""
        if not await wait_for_event(self.exited, seconds):
            return False
        await wait_for_event(self._silent, LAST_WORDS_S)
        return True

    def listen(self, listener: PipeListener) -> None:
        """Give what it writes to that listener from now on."""
        self._listener = listener
        early, self._early = self._early, []
        for chunk in early:
            listener.received(chunk)
        if self.output_over:
            listener.ended()

    def write(self, lines: bytes) -> None:
        """Write to its standard input; a child that is gone gets nothing, and whoever reads from it says why."""
        stdin: Any = self._transport.get_pipe_transport(STDIN)
        if stdin is not None and not stdin.is_closing():
            stdin.write(lines)

    def close_stdin(self) -> None:
        """End its standard input, once it has read what was written."""
        stdin = self._transport.get_pipe_transport(STDIN)
        if stdin is not None:
            stdin.close()

    def close(self) -> None:
        """Close our ends of its pipes: a process outside its group may hold the others open."""
        self._transport.close()

    def pause_reading(self) -> None:
        """Take no more of its standard output for now."""
        if (stdout := self._stdout()) is not None:
            stdout.pause_reading()

    def resume_reading(self) -> None:
        """Take its standard output again."""
        if (stdout := self._stdout()) is not None:
            stdout.resume_reading()

    def _stdout(self) -> Any:
        stdout = self._transport.get_pipe_transport(STDOUT)
        return None if stdout is None or stdout.is_closing() else stdout

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    # -- what the event loop says -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It was started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        if fd == STDERR:
            self.stderr.feed(data)
        elif self._listener is None:
            self._early.append(data)
        else:
            self._listener.received(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It closed one of its pipes, or nobody has that any more."""
        if fd == STDERR:
            self.stderr.feed(b"")
            self._silent.set()
        elif fd == STDOUT:
            self.output_over, self.broken = True, exc is not None
            if self._listener is not None:
                self._listener.ended()

    def process_exited(self) -> None:
        """It ended."""
        self.exited.set()

    def pause_writing(self) -> None:
        """It does not read as fast as it is written to."""
        self.writable = False

    def resume_writing(self) -> None:
        """It has read most of what was written."""
        self.writable = True
        if self._listener is not None:
            self._listener.writable()


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
    async with background() as start:
        try:
            if what.own_cwd and what.cwd is not None:
                os.makedirs(what.cwd, mode=0o700, exist_ok=True)
            with _inherited(what, start) as (variables, descriptors):
                _, child = await asyncio.get_running_loop().subprocess_exec(
                    lambda: Child(StderrTail(backend, is_quiet)),
                    what.command,
                    *what.args,
                    cwd=what.cwd,
                    env=environment({**what.env, **variables}, os.environ),
                    pass_fds=descriptors,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            raise Broken(f"{what.command!r} cannot be started: {error}") from error
        watchdog.guard(child.pid)
        try:
            yield child
        finally:
            with anyio.CancelScope(shield=True):
                await _end(child, patience)
            watchdog.release(child.pid)


@contextlib.contextmanager
def _inherited(what: Stdio, start: Start) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """What a child gets besides its standard streams: variables, and descriptors that are open while it is started."""
    if what.channel is None:
        yield {}, ()
        return
    ours, theirs = socket.socketpair()
    with theirs:
        start(what.channel.serve(ours))
        yield {what.channel.variable: str(theirs.fileno())}, (theirs.fileno(),)


async def _end(child: Child, patience: float) -> None:
    """Close its input, wait, SIGTERM, wait, SIGKILL.

    https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#stdio
    """
    try:
        child.close_stdin()
        if not await child.gone(patience):
            child.signal(signal.SIGTERM)
            await child.gone(patience)
        child.signal(signal.SIGKILL)  # also what it left behind in its group
        if not await child.gone(patience):
            log.error("backend.child_not_ended", pid=child.pid)
    finally:
        child.close()
