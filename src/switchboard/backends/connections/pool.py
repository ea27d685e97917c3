"""The open connections of one backend on this worker: found, started when first needed, ended when nobody uses them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import structlog

from switchboard.aio import background, task_group
from switchboard.backends.caller import Params
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_quota import ANYBODY, ConnectionQuota, digest
from switchboard.backends.errors import AccessRefused, Broken, Refused
from switchboard.common.breaker import Breaker
from switchboard.telemetry.metrics import BACKEND_CONNECTIONS

SWEEPS_PER_IDLE_TIME: Final = 4
"""Looks for idle connections in the time that makes a connection idle."""

DRAIN_S: Final = 5.0

QUOTA_WAIT_S: Final = 2.0
"""How long a new connection waits for an idle one to end, on whichever worker."""

LONGEST_BROKEN_PAUSE_S: Final = 60.0
"""How long nothing is started for calls, when it keeps failing in a way that somebody has to mend."""

KEPT_IDLE_S: Final = 60.0
"""A connection whose server remembers something is not ended for another one before it was idle for so long."""

log = structlog.get_logger("switchboard.backends")

MakeConnection = Callable[[ConnectionKey, Params], Connection]
"""`(key, the capabilities to declare)`."""


class ConnectionPool:
    """A pool.

    Args:
        make_connection: makes a connection; this pool runs it.
        quota: where the fleet counts its connections.
        breaker: opens when starting fails again and again, so that a broken backend is not started for every call.
    """

    def __init__(
        self, backend: Backend, make_connection: MakeConnection, quota: ConnectionQuota, breaker: Breaker | None = None
    ) -> None:
        self._backend = backend
        self._make_connection = make_connection
        self._quota = quota
        self._breaker = breaker or Breaker(threshold=3, pause=2.0, longest=LONGEST_BROKEN_PAUSE_S)
        self._by_key: dict[ConnectionKey, Connection] = {}
        self._all: set[Connection] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._last_failure = ""
        self._last_stderr: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def open(self) -> tuple[Connection, ...]:
        """Those that take calls."""
        return tuple(connection for connection in self._all if not connection.over)

    def tell(self, most: int) -> list[dict[str, Any]]:
        """What operators are told of its connections, at most so many, the busiest first."""
        told = sorted((each.tell() for each in self._all), key=lambda each: (-each["calls"], each["idle_s"]))
        return told[:most]

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """What the children of all connections wrote to standard error last; where there is none, the last one."""
        return tuple(text for connection in self._all for text in connection.stderr_tail) or self._last_stderr

    @property
    def failing(self) -> bool:
        """Whether the last one that was to start did not."""
        return self._breaker.failing

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections; end them all on the way out."""
        async with (
            self._quota.running(self._quota_members, self._end_idle),
            task_group() as self._tasks,
            background(self._sweep()),
        ):
            try:
                yield
            finally:
                await self._drain()
                self.stop()
                self._tasks = None

    @asynccontextmanager
    async def connection(self, key: ConnectionKey, capabilities: Params) -> AsyncIterator[Connection]:
        """The connection for `key`, open, and kept open while the context is.

        Raises:
            BackendFailure: it does not open, or may not be tried now.
        """
        connection = None if key.once else self._by_key.get(key)
        if connection is None or connection.over:
            connection = await self._admit(key, capabilities)
        connection.users += 1
        try:
            await connection.ready()
            if not connection.start_noted:  # of many calls on it, none says that another would start
                connection.start_noted = True
                self._breaker.succeeded()
            yield connection
        finally:
            connection.users -= 1
            connection.last_used = asyncio.get_running_loop().time()
            if key.once:
                connection.stop()

    async def _drain(self) -> None:
        """Let calls in flight end, for a while: this backend is replaced, or its worker leaves."""
        with anyio.move_on_after(DRAIN_S, shield=True):
            for connection in list(self._all):
                await connection.calls.drained()

    def stop(self) -> None:
        """End every connection; calls that come later start new ones."""
        for connection in list(self._all):
            connection.stop()

    async def _admit(self, key: ConnectionKey, capabilities: Params) -> Connection:
        member = self._quota.member(key)
        await self._count(key, member)
        connection = None if key.once else self._by_key.get(key)  # somebody else may have started it meanwhile
        if connection is not None and not connection.over:
            return connection
        try:
            return self._start(key, capabilities, member)
        except Refused:
            await self._uncount(key, member)
            raise

    async def _count(self, key: ConnectionKey, member: str) -> None:
        until = asyncio.get_running_loop().time() + QUOTA_WAIT_S
        while (full := await self._quota.enter(key, member)) is not None:
            if asyncio.get_running_loop().time() >= until:
                raise Refused(f"{full.why}{self._advice()}")
            if not self._end_idle(full.user):
                await self._quota.ask(full)
            await asyncio.sleep(QUOTA_WAIT_S / 10)

    async def _uncount(self, key: ConnectionKey, member: str) -> None:
        if not any(connection.member == member for connection in self._all):
            await self._quota.leave(key, member)

    def _quota_members(self) -> list[tuple[ConnectionKey, str]]:
        return [(connection.key, connection.member) for connection in self._all if connection.key is not None]

    def _end_idle(self, user: str) -> bool:
        """End the connection that is idle for longest: a person's, whose digest is given, or anybody's."""
        idle = [connection for connection in self.open if self._may_end(connection)]
        if user not in ("", ANYBODY):
            idle = [
                connection for connection in idle if connection.key is not None and digest(connection.key.user) == user
            ]
        if idle:
            self._end_oldest(idle)
        return bool(idle)

    def _may_end(self, connection: Connection) -> bool:
        """Whether it may be ended for another one: with it goes what its server remembers of its client."""
        now = asyncio.get_running_loop().time()
        return (
            connection.idle
            and connection.key is not None
            and (not connection.holds_state or now - connection.last_used >= KEPT_IDLE_S)
        )

    def _end_oldest(self, idle: Sequence[Connection]) -> None:
        connection = min(idle, key=lambda connection: (connection.holds_state, connection.last_used))
        if connection.holds_state:
            log.warning(
                "backend.connection_evicted",
                backend=self._backend.name,
                whose=digest(connection.key.user) if connection.key else "",
            )
        connection.stop()

    def _start(self, key: ConnectionKey, capabilities: Params, member: str) -> Connection:
        if self._tasks is None:
            raise Refused("this worker is leaving")
        if not self._breaker.allows(asyncio.get_running_loop().time()):
            BACKEND_CONNECTIONS.add(self._backend.name, "held_back")
            again = f"`switchboard servers restart {self._backend.name}` tries again at once"
            raise Refused(f"it failed to start several times in a row; last: {self._last_failure} ({again})")
        self._check_bounds(key)
        connection = self._make_connection(key, capabilities)
        connection.key, connection.member = key, member
        self._all.add(connection)
        if not key.once:
            self._by_key[key] = connection
        # A context of its own: a connection outlives the call that started it, and must not act for that caller.
        self._tasks.create_task(self._run(connection), context=contextvars.Context())
        return connection

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            BACKEND_CONNECTIONS.add(self._backend.name, "ended" if connection.was_open else "start_failed")
            self._all.discard(connection)
            if connection.key is not None and self._by_key.get(connection.key) is connection:
                del self._by_key[connection.key]
            self._last_stderr = connection.stderr_tail or self._last_stderr
            self._note_start(connection)
            if connection.key is not None:
                await self._uncount(connection.key, connection.member)

    def _note_start(self, connection: Connection) -> None:
        if self._backend.credentials.per_person and isinstance(connection.failure, AccessRefused):
            return  # one person's credential says nothing of the next one's
        if not connection.was_open and connection.failure is not None:
            self._last_failure = str(connection.failure)
            if not self._breaker.failing:
                log.warning("backend.start_failed", backend=self._backend.name, reason=self._last_failure)
            self._breaker.failed(asyncio.get_running_loop().time(), lasting=isinstance(connection.failure, Broken))

    def _check_bounds(self, key: ConnectionKey) -> None:
        """Refuse a connection too many; an idle one goes first, the one idle for longest.

        Raises:
            Refused: no room, and all are busy.
        """
        bounds = self._backend.bounds
        mine = [
            connection for connection in self.open if connection.key is not None and connection.key.user == key.user
        ]
        if key.user and len(mine) >= bounds.connections_per_user:
            self._evict(mine, f"{bounds.connections_per_user} connections of yours are open")
        elif len(self.open) >= bounds.connections:
            self._evict(self.open, f"{bounds.connections} connections are open on this worker")
        if len(self._all) >= 2 * bounds.connections:
            raise Refused(f"{len(self._all) - len(self.open)} connections are being closed on this worker")

    def _evict(self, among: Sequence[Connection], complaint: str) -> None:
        idle = [connection for connection in among if self._may_end(connection)]
        if not idle:
            raise Refused(f"{complaint}{self._advice()}")
        self._end_oldest(idle)

    def _advice(self) -> str:
        idle = f"{self._backend.patience.idle:g} s"
        return f", and all are in use: end one, or wait until one was not used for {idle}"

    async def _sweep(self) -> None:
        idle = self._backend.patience.idle
        while True:
            await asyncio.sleep(idle / SWEEPS_PER_IDLE_TIME)
            now = asyncio.get_running_loop().time()
            for connection in list(self._all):
                if connection.idle and now - connection.last_used >= idle:
                    connection.stop()
