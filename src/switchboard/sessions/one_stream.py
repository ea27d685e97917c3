"""Transports with one stream that carries every answer: HTTP+SSE (2024-11-05), whose messages any worker takes, and
WebSocket.

The sessions are those of Streamable HTTP. A request posted on any worker becomes a stored reply at once, and a pointer
to it is put on the session's one stream; the worker that holds that stream follows each reply that is pointed to. So
the reply of a worker that dies is ended. The session ends with its stream: these transports cannot resume.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import INVALID_REQUEST, ErrorData

from switchboard.aio import Start, background
from switchboard.errors import SessionGone, StateUnavailable
from switchboard.identity import Principal
from switchboard.sessions.records import Record
from switchboard.sessions.service import SessionService
from switchboard.sessions.streams.frames import KEEPALIVE
from switchboard.sessions.streams.standalone import Ending, StandaloneStream, holder_of
from switchboard.sessions.streams.stored_stream import START, follow
from switchboard.sessions.streams.stream_list import Kind

log = structlog.get_logger("switchboard.sessions")

POINTER: Final = "reply"
"""A frame with this key is no message: it names the stream of a reply."""

NOT_YET: Final = ErrorData(code=INVALID_REQUEST, message="Send initialize first")
BACKLOG: Final = 1_000
"""Messages that wait for a slow reader; then its replies wait where they are stored."""

QUIET: Final = ""
"""What a stream yields when there was nothing to say for a while."""


@dataclass(frozen=True, slots=True)
class OneStream:
    """An open session of such a transport."""

    sid: str
    messages: AsyncGenerator[str]
    """What the client is to be sent, as JSON; QUIET now and then; ends with the session."""
    _stream: StandaloneStream

    @property
    def ending(self) -> Ending:
        """Why `messages` ended."""
        return self._stream.ending


class OneStreamSessions:
    """Serves sessions of such transports by way of `SessionService`.

    Args:
        alive: whether the worker of an id still is.
    """

    def __init__(self, service: SessionService, alive: Callable[[str], Awaitable[bool]]) -> None:
        self._service = service
        self._alive = alive

    async def load(self, sid: str, principal: Principal) -> Record:
        """The session of that id.

        Raises:
            SessionGone: as `Records.load`.
        """
        return await self._service.records.load(sid, principal.owner)

    async def open(self, principal: Principal, path: str, query: str = "") -> AsyncGenerator[bytes]:
        """A new session's stream; its first event tells the client where to post (`path?sessionId=…&query`)."""
        more = f"&{query}" if query else ""
        async with self.session(principal, "sse") as session:
            yield f"event: endpoint\r\ndata: {path}?sessionId={session.sid}{more}\r\n\r\n".encode()
            async for message in session.messages:
                yield _event(message) if message != QUIET else KEEPALIVE

    @asynccontextmanager
    async def session(self, principal: Principal, kind: Kind) -> AsyncIterator[OneStream]:
        """A new session, which lasts as long as the context.

        Raises:
            TooMany: the principal has as many sessions, or streams on this worker, as one may have.
        """
        sid = await self._service.records.reserve(principal.owner)
        record = await self.load(sid, principal)
        try:
            async with (
                self._service.standalone(record, principal.expires_at, kind=kind) as stream,
                aclosing(self._merged(record, stream)) as messages,
            ):
                yield OneStream(sid, messages, stream)
        finally:
            await self._end(record)

    async def post(self, record: Record, principal: Principal, message: dict[str, Any], headers: Any) -> None:
        """Serve one message; answers go to the stream.

        Raises:
            SessionGone, StateUnavailable: the message was not taken.
        """
        await self._check_stream(record)
        if "method" not in message:
            await self._service.answered(record, message)
        elif "id" not in message:
            await self._service.notified(record, principal, message, headers)
        elif message["method"] == "initialize":
            await self._service.say(record, await self._initialized(record, principal, message))
        elif record.pending and message["method"] != "ping":
            await self._service.say(record, _error(message, NOT_YET))
        else:
            await self._serve(record, principal, message, headers)

    async def _check_stream(self, record: Record) -> None:
        """Refuse a message when the stream is open nowhere: the answer could not be sent.

        Raises:
            SessionGone: the stream has ended, or its worker died and left it; the session has ended with it.
        """
        if record.held_by is None:
            raise SessionGone(record.sid)
        holder = holder_of(record.held_by)
        if holder and holder != self._service.worker and not await self._alive(holder):
            log.warning("stream.worker_lost", session=record.sid[:8], worker=holder)
            await self._end(record)
            raise SessionGone(record.sid)

    async def _initialized(self, record: Record, principal: Principal, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return (await self._service.initialize(principal, message, record.sid)).response
        except (SessionGone, StateUnavailable):
            raise
        except Exception as error:  # the kernel's own ladder says which errors are the client's
            known = handler_exception_to_error_data(error)
            if known is None:
                raise
            return _error(message, known)

    async def _serve(self, record: Record, principal: Principal, message: dict[str, Any], headers: Any) -> None:
        reply = self._service.start(record, principal, [message], headers)
        reply.detach()
        await reply.commit()
        if reply.committed:
            await self._service.say(record, {POINTER: reply.name})
            return
        for outcome in reply.outcomes:
            await self._service.say(record, outcome)

    async def _merged(self, record: Record, stream: StandaloneStream) -> AsyncGenerator[str]:
        """The session's own messages and those of the replies they point to, in one stream."""
        events: asyncio.Queue[str | None] = asyncio.Queue(BACKLOG)
        async with background() as start:
            start(self._read(record, stream, events, start))
            while (chunk := await events.get()) is not None:
                yield chunk

    async def _read(
        self, record: Record, stream: StandaloneStream, events: asyncio.Queue[str | None], start: Start
    ) -> None:
        async with aclosing(follow(stream)) as frames:
            async for frame in frames:
                pointed = _pointed(frame.data) if frame is not None else None
                if pointed is not None:
                    start(self._follow(record, pointed, events))
                else:
                    await events.put(QUIET if frame is None else frame.data)
        await events.put(None)

    async def _follow(self, record: Record, reply: str, events: asyncio.Queue[str | None]) -> None:
        try:
            async with aclosing(self._service.follower(record, reply, START).frames()) as frames:
                async for frame in frames:
                    if frame is not None:
                        await events.put(frame.data)
        except SessionGone:
            log.debug("session.ended", session=record.sid[:8])

    async def _end(self, record: Record) -> None:
        try:
            await self._service.end(record)
        except StateUnavailable as error:  # the record expires by itself
            log.warning(error.event, error=str(error))


def _pointed(data: str) -> str | None:
    if not data.startswith(f'{{"{POINTER}":'):
        return None
    name: str = json.loads(data)[POINTER]
    return name


def _event(data: str) -> bytes:
    return f"event: message\r\ndata: {data}\r\n\r\n".encode()


def _error(message: dict[str, Any], error: ErrorData) -> dict[str, Any]:
    details = error.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"jsonrpc": "2.0", "id": message["id"], "error": details}
