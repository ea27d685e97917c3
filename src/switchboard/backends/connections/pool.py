"""The open lines of one backend on this worker: found, started when first needed, ended when nobody uses them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from switchboard.aio import background, task_group
from switchboard.backends.caller import Params
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_quota import ANYBODY, ConnectionQuota, digest
from switchboard.backends.errors import Broken, Refused
from switchboard.common.breaker import Breaker

SWEEPS: Final = 4
"""Looks for idle lines in the time that makes a line idle."""

DRAIN_S: Final = 5.0

ROOM_S: Final = 2.0
"""How long a new connection waits for an idle one to end, on whichever worker."""

LONGEST_S: Final = 60.0
"""How long nothing is started for calls, when it keeps failing in a way that somebody has to mend."""

SPARED_S: Final = 60.0
"""A connection whose server remembers something is not ended for another one before it was idle for so long."""

log = structlog.get_logger("switchboard.backends")

MakeLine = Callable[[ConnectionKey, Params], Connection]
"""`(key, the capabilities to declare)`."""


class ConnectionPool:
    """A pool.

    Args:
        make: makes a line; this pool runs it.
        room: where the fleet counts its connections.
        breaker: opens when starting fails again and again, so that a broken backend is not started for every call.
    """

    def __init__(self, backend: Backend, make: MakeLine, room: ConnectionQuota, breaker: Breaker | None = None) -> None:
        self._backend = backend
        self._make = make
        self._room = room
        self._breaker = breaker or Breaker(threshold=3, pause=2.0, longest=LONGEST_S)
        self._lines: dict[ConnectionKey, Connection] = {}
        self._every: set[Connection] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._last_failure = ""
        self._last_words: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._every)

    @property
    def open(self) -> tuple[Connection, ...]:
        """Those that take calls."""
        return tuple(line for line in self._every if not line.over)

    @property
    def words(self) -> tuple[str, ...]:
        """What the children of all lines wrote to standard error last; where there is none, the last one."""
        return tuple(word for line in self._every for word in line.words) or self._last_words

    @property
    def failing(self) -> bool:
        """Whether the last one that was to start did not."""
        return self._breaker.failing

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep lines; end them all on the way out."""
        async with self._room.running(self._held, self._asked), task_group() as self._tasks, background(self._sweep()):
            try:
                yield
            finally:
                await self._drained()
                self.stop()
                self._tasks = None

    @asynccontextmanager
    async def line(self, key: ConnectionKey, capabilities: Params) -> AsyncIterator[Connection]:
        """The line for `key`, open, and kept open while the context is.

        Raises:
            BackendFailure: it does not open, or may not be tried now.
        """
        line = None if key.once else self._lines.get(key)
        if line is None or line.over:
            line = await self._admitted(key, capabilities)
        line.users += 1
        try:
            await line.ready()
            if not line.proven:  # of many calls on it, none says that another would start
                line.proven = True
                self._breaker.succeeded()
            yield line
        finally:
            line.users -= 1
            line.used = asyncio.get_running_loop().time()
            if key.once:
                line.stop()

    async def _drained(self) -> None:
        """Let calls in flight end, for a while: this backend is replaced, or its worker leaves."""
        with anyio.move_on_after(DRAIN_S, shield=True):
            for line in list(self._every):
                await line.calls.none()

    def stop(self) -> None:
        """End every line; calls that come later start new ones."""
        for line in list(self._every):
            line.stop()

    async def _admitted(self, key: ConnectionKey, capabilities: Params) -> Connection:
        member = self._room.member(key)
        await self._counted(key, member)
        line = None if key.once else self._lines.get(key)  # somebody else may have started it meanwhile
        if line is not None and not line.over:
            return line
        try:
            return self._started(key, capabilities, member)
        except Refused:
            await self._uncounted(key, member)
            raise

    async def _counted(self, key: ConnectionKey, member: str) -> None:
        until = asyncio.get_running_loop().time() + ROOM_S
        while (full := await self._room.enter(key, member)) is not None:
            if asyncio.get_running_loop().time() >= until:
                raise Refused(f"{full.why}{self._advice()}")
            if not self._asked(full.user):
                await self._room.ask(full)
            await asyncio.sleep(ROOM_S / 10)

    async def _uncounted(self, key: ConnectionKey, member: str) -> None:
        if not any(line.member == member for line in self._every):
            await self._room.leave(key, member)

    def _held(self) -> list[tuple[ConnectionKey, str]]:
        return [(line.key, line.member) for line in self._every if line.key is not None]

    def _asked(self, user: str) -> bool:
        """End the connection that is idle for longest: a person's, whose digest is given, or anybody's."""
        idle = [line for line in self.open if self._is_spare(line)]
        if user not in ("", ANYBODY):
            idle = [line for line in idle if line.key is not None and digest(line.key.user) == user]
        if idle:
            self._end_one(idle)
        return bool(idle)

    def _is_spare(self, line: Connection) -> bool:
        """Whether it may be ended for another one: with it goes what its server remembers of its client."""
        now = asyncio.get_running_loop().time()
        return line.idle and line.key is not None and (not line.remembers or now - line.used >= SPARED_S)

    def _end_one(self, idle: Sequence[Connection]) -> None:
        line = min(idle, key=lambda line: (line.remembers, line.used))
        if line.remembers:
            log.warning(
                "backend.ended_for_another", backend=self._backend.name, whose=digest(line.key.user) if line.key else ""
            )
        line.stop()

    def _started(self, key: ConnectionKey, capabilities: Params, member: str) -> Connection:
        if self._tasks is None:
            raise Refused("this worker is leaving")
        if not self._breaker.allows(asyncio.get_running_loop().time()):
            again = f"`switchboard servers restart {self._backend.name}` tries again at once"
            raise Refused(f"it failed to start several times in a row; last: {self._last_failure} ({again})")
        self._make_room(key)
        line = self._make(key, capabilities)
        line.key, line.member = key, member
        self._every.add(line)
        if not key.once:
            self._lines[key] = line
        # A context of its own: a line outlives the call that started it, and must not speak in that caller's name.
        self._tasks.create_task(self._kept(line), context=contextvars.Context())
        return line

    async def _kept(self, line: Connection) -> None:
        try:
            await line.keep()
        finally:
            self._every.discard(line)
            if line.key is not None and self._lines.get(line.key) is line:
                del self._lines[line.key]
            self._last_words = line.words or self._last_words
            self._judge(line)
            if line.key is not None:
                await self._uncounted(line.key, line.member)

    def _judge(self, line: Connection) -> None:
        if not line.opened and line.failure is not None:
            self._last_failure = str(line.failure)
            if not self._breaker.failing:
                log.warning("backend.not_started", backend=self._backend.name, reason=self._last_failure)
            self._breaker.failed(asyncio.get_running_loop().time(), lasting=isinstance(line.failure, Broken))

    def _make_room(self, key: ConnectionKey) -> None:
        """Refuse a line too many; an idle one goes first, the one idle for longest.

        Raises:
            Refused: no room, and all are busy.
        """
        bounds = self._backend.bounds
        mine = [line for line in self.open if line.key is not None and line.key.user == key.user]
        if key.user and len(mine) >= bounds.lines_per_user:
            self._evict(mine, f"{bounds.lines_per_user} connections of yours are open")
        elif len(self.open) >= bounds.lines:
            self._evict(self.open, f"{bounds.lines} connections are open on this worker")
        if len(self._every) >= 2 * bounds.lines:
            raise Refused(f"{len(self._every) - len(self.open)} connections are being closed on this worker")

    def _evict(self, among: Sequence[Connection], complaint: str) -> None:
        idle = [line for line in among if self._is_spare(line)]
        if not idle:
            raise Refused(f"{complaint}{self._advice()}")
        self._end_one(idle)

    def _advice(self) -> str:
        idle = f"{self._backend.patience.idle:g} s"
        return f", and all are in use: end one, or wait until one was not used for {idle}"

    async def _sweep(self) -> None:
        idle = self._backend.patience.idle
        while True:
            await asyncio.sleep(idle / SWEEPS)
            now = asyncio.get_running_loop().time()
            for line in list(self._every):
                if line.idle and now - line.used >= idle:
                    line.stop()
