"""One connection for look-ups: short commands of many requests, in one write for each turn of the event loop.

redis-py opens it (TLS, names and passwords, Sentinel); from then on its transport speaks to us: hiredis packs commands
and reads replies, which come in the order of the commands. So a command takes no connection out of a pool, no task and
no lock. A command whose caller has gone keeps its place in the order.

It is opened when something is asked. When it breaks, whoever waits hears that nobody knows what was done, and what is
asked next opens it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, Protocol

import hiredis
import structlog
from redis._parsers.base import BaseParser
from redis.exceptions import ReadOnlyError, RedisError

from switchboard.errors import StateBusy, StateUnavailable
from switchboard.telemetry.metrics import REDIS_ROUND_TRIPS

Command = tuple[str | int | float, ...]

MOST_UNANSWERED: Final = 8_192
"""Commands that wait for a reply: of some hundred bytes each, all that a server which stands still can make us keep."""

CONNECT_S: Final = 5.0
"""How long opening may take."""

TICK_S: Final = 1.0
"""How often it is looked whether replies come, while some are awaited."""

SILENT_TICKS: Final = 5
"""Looks in a row that find the same command unanswered, until the server is given up. A worker that stood still itself
finds the time gone by, and replies that it has not read yet; so looks are counted."""

RECONNECT_S: Final = (0.0, 0.0, 0.02, 0.1, 0.25)
"""How long opening waits, by failures since the last reply; what is asked meanwhile waits with it."""

log = structlog.get_logger("switchboard.state")


class LookupListener(Protocol):
    """Who owns connections. Every method runs on the event loop, synchronously, and must not raise."""

    def lost(self) -> None:
        """A connection broke."""
        ...

    def refused(self, reply: asyncio.Future[Any], command: Command, error: Exception) -> None:
        """The server answered with an error; the listener settles `reply`."""
        ...

    def unsent(self, reply: asyncio.Future[Any], command: Command, error: Exception) -> None:
        """The command was not sent, since no connection could be opened; the listener settles `reply`."""
        ...


class LookupConnection:
    """A connection to one server.

    Args:
        name: of the server, for the log.
        connection: makes one of redis-py's that nobody else uses.
        start: runs something in the background, in the context of no request.
    """

    def __init__(
        self,
        name: str,
        connection: Callable[[], Any],
        start: Callable[[Coroutine[Any, Any, None]], object],
        listener: LookupListener,
    ) -> None:
        self._log = log.bind(server=name) if name else log
        self._make = connection
        self._start = start
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._context = Context()
        self._unanswered: deque[tuple[asyncio.Future[Any], Command]] = deque()
        """In the order in which they were asked."""
        self._unsent: list[bytes] = []
        """The last of them, packed: those of this turn, or all while there is no connection."""
        self._replies: _Replies | None = None
        """The connection, while it is open."""
        self._opening = False
        self._closed = False
        self._failures = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._oldest: object = None
        self._ticks = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a reply."""
        return not self._unanswered

    def send(self, reply: asyncio.Future[Any], command: Command) -> None:
        """Send the command at the end of this turn of the event loop; what the server answers settles `reply`."""
        if len(self._unanswered) >= MOST_UNANSWERED:
            refuse(reply, StateBusy(_BUSY) if self._replies else StateUnavailable("Redis is away"))
            return
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # it is typed as of one argument
        if not self._unsent:
            self._loop.call_soon(self._flush, context=self._context)
        self._unsent.append(packed)
        self._unanswered.append((reply, command))

    def _flush(self) -> None:
        if not self._unsent:
            return
        if self._replies is None:
            if not self._opening:
                self._opening = True
                self._start(self._serve())
            return
        unsent, self._unsent = self._unsent, []
        self._replies.transport.write(b"".join(unsent))
        REDIS_ROUND_TRIPS.add("lookups")
        if self._ticking is None:
            self._ticking = self._loop.call_later(TICK_S, self._tick, context=self._context)

    def answered(self, answer: Any) -> None:
        """The server answered the oldest command."""
        if not self._unanswered:
            self.break_off("it said something that nobody had asked for")
            return
        self._failures = 0
        reply, command = self._unanswered.popleft()
        if not isinstance(answer, Exception):
            if not reply.done():
                reply.set_result(answer)
            return
        if not reply.done():
            self._listener.refused(reply, command, answer)
        if isinstance(answer, ReadOnlyError):  # a master that became a replica: Sentinel knows which server it is now
            self.break_off(str(answer))

    def _tick(self) -> None:
        """Break off when the server has left the same command unanswered for long."""
        self._ticking = None
        oldest = self._unanswered[0] if self._unanswered else None
        self._ticks = self._ticks + 1 if oldest is self._oldest else 0
        self._oldest = oldest
        if oldest is None or self._replies is None:
            return
        if self._ticks >= SILENT_TICKS:
            self.break_off(f"it left a command unanswered for {SILENT_TICKS * TICK_S:g} s")
        else:
            self._ticking = self._loop.call_later(TICK_S, self._tick, context=self._context)

    # -- opening and ending ----------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Open a connection, and close it when it has ended."""
        await asyncio.sleep(RECONNECT_S[min(self._failures, len(RECONNECT_S) - 1)])
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()
            replies = self._take_over(connection)
        except (RedisError, OSError, TimeoutError) as error:
            self._opening = False
            self._fail_unsent(error)
        else:
            self._opening = False
            self._flush()
            await replies.ended
        finally:
            await connection.disconnect(nowait=True)

    def _take_over(self, connection: Any) -> _Replies:
        """Have the transport that redis-py opened speak to us; all that was asked on it so far was answered."""
        transport = connection._writer.transport
        if self._closed or transport.is_closing():
            raise ConnectionResetError("the connection was closed")
        self._replies = _Replies(self, transport, self._loop.create_future())
        transport.set_protocol(self._replies)
        if self._failures:
            self._log.info("redis.lookups_renewed")
        return self._replies

    def _fail_unsent(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            self._log.warning("redis.lookups_refused", error=str(error))
        waiting, self._unanswered = self._unanswered, deque()
        self._unsent = []
        for reply, command in waiting:
            if not reply.done():
                self._listener.unsent(reply, command, error)

    def break_off(self, reason: str) -> None:
        """End a connection that is of no use any more; what was asked on it may have been done."""
        say = self._log.warning if self._unanswered else self._log.info  # a server may close what is not used
        say("redis.lookups_lost", error=reason, unanswered=len(self._unanswered))
        self._failures += 1
        self._end(f"The connection to Redis was lost, and what was asked last may have been done: {reason}")
        self._listener.lost()

    def close(self) -> None:
        """End the connection for good."""
        self._closed = True
        self._end("The connection to Redis was closed")

    def _end(self, reason: str) -> None:
        if self._replies:
            self._replies.end()
        if self._ticking:
            self._ticking.cancel()
        self._replies = self._ticking = None
        waiting, self._unanswered = self._unanswered, deque()
        self._unsent = []
        for reply, _ in waiting:
            refuse(reply, StateUnavailable(reason))


class _Replies(asyncio.Protocol):
    """What the transport calls."""

    def __init__(self, owner: LookupConnection, transport: asyncio.Transport, ended: asyncio.Future[None]) -> None:
        self._owner: LookupConnection | None = owner
        """`None` once the connection has ended."""
        self.transport = transport
        self.ended = ended
        self._reader = hiredis.Reader(replyError=BaseParser.parse_error, encoding="utf-8", errors="replace")

    def end(self) -> None:
        """Close the transport, and say nothing more."""
        self._owner = None
        self.transport.abort()
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Pass on every reply that is complete."""
        try:
            self._reader.feed(data)
            while self._owner and (answer := self._reader.gets()) is not False:  # no reply of RESP2 is `False`
                self._owner.answered(answer)
        except hiredis.HiredisError as error:
            if self._owner:
                self._owner.break_off(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._owner:
            self._owner.break_off(str(error or "the server closed it"))


def refuse(reply: asyncio.Future[Any], error: Exception) -> None:
    """Settle a reply with an error, if it is not settled; nobody minds when its caller never looks."""
    if not reply.done():
        reply.set_exception(error)
        reply.exception()


_BUSY: Final = f"Redis has left {MOST_UNANSWERED} commands of this worker unanswered: run more workers"
