"""What a worker does for clients of the handshake era, which send an `Mcp-Session-Id`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import RequestId

from switchboard.aio import Overdue, wait_for_event
from switchboard.errors import SessionGone, TooMany
from switchboard.identity import Caller, Principal, current, serving
from switchboard.protocol.direct_requests import Prepared, PreparedInContext
from switchboard.sessions.direct_request import Cancellable, DirectOutcome, DirectRequest
from switchboard.sessions.exchange import CANCELLED, LEAVING, Exchange
from switchboard.sessions.notification_context import NotificationContext
from switchboard.sessions.records import Record, Records
from switchboard.sessions.streams.frames import encode
from switchboard.sessions.streams.open_streams import OpenStreams
from switchboard.sessions.streams.reply import Reply, digest
from switchboard.sessions.streams.reply_follower import ReplyFollower
from switchboard.sessions.streams.standalone import StandaloneStream, StandaloneWriter, append
from switchboard.sessions.streams.stream_list import Kind
from switchboard.state import State
from switchboard.state.keys import COMMIT_GRACE_MS, MAX_CANCELLED

log = structlog.get_logger("switchboard.sessions")

COMMIT_WINDOW_S: Final = 1.0
"""A handler that neither speaks nor ends for this long makes its reply a stream."""


@dataclass(frozen=True)
class OpenedSession:
    """The outcome of `initialize`."""

    sid: str
    protocol_version: str
    response: dict[str, Any]


class SessionService:
    """Serves handshake sessions from their stored records; an idle session takes nothing on a worker."""

    def __init__(
        self,
        server: Server[Any],
        options: InitializationOptions,
        state: State,
        records: Records,
        streams: OpenStreams,
        worker: str,
        max_requests: int = 256,
    ) -> None:
        self.records = records
        self._max_requests = max_requests
        self.streams = streams
        self._server = server
        self._options = options
        self._state = state
        self.worker = worker
        self._lifespan_state: Any = None
        self._running: dict[Cancellable, tuple[str, RequestId]] = {}
        """With the session and the id of each: a client may use an id twice."""
        self._overdue = Overdue(COMMIT_WINDOW_S)
        self._tasks = asyncio.TaskGroup()
        self._idle = asyncio.Event()
        self._leave_at: float | None = None

    @contextlib.asynccontextmanager
    async def running(self, lifespan_state: Any) -> AsyncIterator[None]:
        """Serve until the context ends; then exchanges have what is left of their time to finish."""
        self._lifespan_state = lifespan_state
        async with self._tasks:
            try:
                yield
            finally:
                await self._finish()
                for request in list(self._running):
                    request.cancel(LEAVING)

    def drain(self, patience: float) -> None:
        """This worker will stop: running exchanges have `patience` seconds from the first call of this on."""
        if self._leave_at is None:
            self._leave_at = asyncio.get_running_loop().time() + patience

    @property
    def draining(self) -> bool:
        """Whether this worker will stop."""
        return self._leave_at is not None

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout_at(self._leave_at or 0):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            log.warning("drain.unfinished", requests=len(self._running))

    @property
    def busy(self) -> int:
        """How many exchanges are running on this worker."""
        return len(self._running)

    async def initialize(self, principal: Principal, message: dict[str, Any], sid: str | None) -> OpenedSession:
        """Negotiate and store a session; with the id of a session of this principal, negotiate that one anew.

        Raises:
            MCPError, ValidationError: the parameters are wrong.
            SessionGone: `sid` is not a session of this principal.
        """
        if sid is not None:
            await self.records.load(sid, principal.owner)
        connection = Connection.for_loop(NotificationContext(None, self._state, sid or "", None), session_id=sid)
        runner = ServerRunner(self._server, connection, self._lifespan_state, init_options=self._options)
        try:
            with serving(Caller(principal, sid, bearer=current().bearer)):
                result = await runner.on_request(
                    NotificationContext(message["id"], self._state, sid or "", None),
                    "initialize",
                    message.get("params"),
                )
        finally:
            await aclose_shielded(connection)
        params = connection.client_params
        if params is None:  # the kernel sets it with every successful initialize
            raise RuntimeError("initialize succeeded without client parameters")
        if sid is None:
            sid = await self.records.create(principal.owner, connection.protocol_version, params)
        else:
            await self.records.write(sid, principal.owner, connection.protocol_version, params)
        log.info(
            "session.opened", session=sid[:8], protocol=connection.protocol_version, client=params.client_info.name
        )
        return OpenedSession(
            sid, connection.protocol_version, {"jsonrpc": "2.0", "id": message["id"], "result": result}
        )

    def start(
        self,
        record: Record,
        principal: Principal,
        messages: list[dict[str, Any]],
        headers: Any,
        prepared: PreparedInContext | None = None,
    ) -> Reply:
        """Start serving requests; they go on when the client hangs up.

        Args:
            prepared: what serves them, if there is but one; the kernel, by default.

        Raises:
            TooMany: the session has as many requests running on this worker as one may have.
        """
        self.admit(record.sid, len(messages))
        ids = [message["id"] for message in messages]
        reply = Reply(self._state, record, self.worker, self.records.ttl_ms, ids, self._tasks)
        exchanges = {m["id"]: Exchange(reply, self._outlet(record), m, headers, prepared) for m in messages}
        self._running.update((each, (record.sid, coerce_request_id(name))) for name, each in exchanges.items())
        with serving(Caller(principal, record.sid, bearer=current().bearer)):
            self._tasks.create_task(self._serve(reply, exchanges))
        return reply

    async def directly(
        self,
        record: Record,
        principal: Principal,
        prepared: Prepared,
        message: dict[str, Any],
        http: Callable[[], Any],
        stream: Callable[[Reply], Awaitable[None]],
    ) -> DirectOutcome:
        """Serve a request in the task of its own POST; what speaks, or lasts COMMIT_WINDOW_S, becomes a stream.

        Args:
            http: makes the HTTP request that brought it, for handlers that may look at it.
            stream: sends the client a reply that became a stream.

        Raises:
            TooMany: as `start`.
            SessionGone, StateUnavailable: the reply could not become a stream.
        """
        self.admit(record.sid, 1)
        reply = partial(Reply, self._state, record, self.worker, self.records.ttl_ms, [prepared.id], self._tasks)

        def exchange(reply: Reply) -> Exchange:
            return Exchange(reply, self._outlet(record), message, http())

        request = DirectRequest(reply, self.settle, stream, exchange, self._lifespan_state, self._tasks)
        self._running[request] = record.sid, coerce_request_id(prepared.id)
        self._overdue.add(request.attend)
        try:
            with serving(Caller(principal, record.sid, bearer=current().bearer)):
                response = await request.response(prepared)
            self._overdue.discard(request.attend)
            return DirectOutcome(response, await request.streamed(prepared, response))
        finally:
            self._overdue.discard(request.attend)
            self._ended(request)

    def _ended(self, request: Cancellable) -> None:
        del self._running[request]
        self._idle.set()

    def admit(self, sid: str, requests: int) -> None:
        """Check that the session may have so many more requests running here.

        Raises:
            TooMany: it may not.
        """
        if len(self._running) + requests <= self._max_requests:
            return  # counting by session is only needed where it could matter
        running = sum(1 for session, _ in self._running.values() if session == sid)
        if running + requests > self._max_requests:
            raise TooMany("requests of one session at once", self._max_requests, "MAX_REQUESTS")

    async def settle(self, reply: Reply) -> None:
        """Wait until the reply is complete or a stream; after COMMIT_WINDOW_S it becomes a stream."""
        if not await wait_for_event(reply.settled, COMMIT_WINDOW_S):
            await reply.commit()

    async def notified(self, record: Record, principal: Principal, message: dict[str, Any], headers: Any) -> None:
        """Serve a notification from the client."""
        if message["method"] == "notifications/cancelled":
            await self._cancel(record, (message.get("params") or {}).get("requestId"))
            return
        notice = NotificationContext(None, self._state, record.sid, headers)
        connection = notice.connection(record)
        runner = ServerRunner(self._server, connection, self._lifespan_state)
        try:
            with serving(Caller(principal, record.sid, bearer=current().bearer)):
                await runner.on_notify(notice, message["method"], message.get("params"))
        finally:
            await aclose_shielded(connection)

    async def answered(self, record: Record, message: dict[str, Any]) -> bool:
        """Store a client's answer to one of our requests; `False` when no handler waits for it."""
        keys = self._state.keys
        with self._state.guard():
            filled = await self._state.scripts.fill(
                keys=[keys.session(record.sid), keys.inbox(record.sid, str(message["id"]))],
                args=[keys.to_server(record.sid), encode(message)],
            )
        return bool(filled) and filled[0] == "ok"

    async def listen(self, record: Record, expires_at: float | None, since: str | None) -> AsyncGenerator[bytes]:
        """Hold the standalone stream open, from `since` on."""
        async with self.standalone(record, expires_at, since) as stream, contextlib.aclosing(stream.events()) as events:
            async for chunk in events:
                yield chunk

    @contextlib.asynccontextmanager
    async def standalone(
        self, record: Record, expires_at: float | None, since: str | None = None, kind: Kind = "get"
    ) -> AsyncIterator[StandaloneStream]:
        """Hold the session's standalone stream; an older holder ends.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        stream = StandaloneStream(self._state, self.records, record, expires_at, current().still_valid, self.worker)
        async with self._state.pubsub.subscribed(stream.channel, stream.on_message):
            await stream.attach(since)
            async with self.streams.standalone(stream, record.owner, kind):
                try:
                    yield stream
                finally:
                    await stream.detach()

    async def say(self, record: Record, message: dict[str, Any]) -> None:
        """Append a message to the session's standalone stream, on whichever worker it is open.

        Raises:
            SessionGone: the session ended meanwhile.
        """
        if not await append(self._state, record.sid, message):
            raise SessionGone(record.sid)

    async def replying(self, reply: Reply) -> AsyncGenerator[bytes]:
        """The reply's stream. It ends when the token of the request does; the reply goes on, and is stored."""
        with self._held(reply.record.sid, reply.detach):
            async with contextlib.aclosing(reply.events()) as events:
                async for chunk in events:
                    yield chunk

    async def resuming(self, follower: ReplyFollower) -> AsyncGenerator[bytes]:
        """The rest of a reply's stream; it ends with the token of the request."""
        with self._held(follower.sid, follower.end):
            async with contextlib.aclosing(follower.events()) as events:
                async for chunk in events:
                    yield chunk

    @contextlib.contextmanager
    def _held(self, sid: str, end: Callable[[], None]) -> Iterator[None]:
        """While a client reads a reply: it ends with the token of the request, and is one of the open streams."""
        caller = current()
        with (
            self.streams.revocation.ending(caller.still_valid, end),
            self.streams.listed.holding("reply", "handshake", caller.principal.owner, sid, end),
        ):
            yield

    def follower(self, record: Record, stream: str, last: str) -> ReplyFollower:
        """For a client that resumes the reply to an earlier POST."""
        return ReplyFollower(self._state, record.sid, stream, last, self.records.ttl_ms)

    async def end(self, record: Record) -> None:
        """End the session for good."""
        await self.records.delete(record.sid, record.owner)
        log.info("session.ended", session=record.sid[:8])

    def _outlet(self, record: Record) -> StandaloneWriter:
        return StandaloneWriter(self._state, record.sid, record.level)

    async def _serve(self, reply: Reply, exchanges: dict[RequestId, Exchange]) -> None:
        sid = reply.record.sid

        def cancel_all() -> None:
            for exchange in exchanges.values():
                exchange.cancel(CANCELLED)

        reply.on_cancelled = lambda request: exchanges[request].cancel()
        reply.on_lost = cancel_all
        try:
            await self._serve_all(list(exchanges.values()))
        except Exception:  # one broken exchange must not end the task group of all
            log.exception("exchange.failed", session=sid[:8])
        finally:
            for exchange in exchanges.values():
                self._ended(exchange)
            await reply.close()

    async def _serve_all(self, exchanges: list[Exchange]) -> None:
        if len(exchanges) == 1:
            await exchanges[0].serve(self._server, self._lifespan_state)
            return
        async with asyncio.TaskGroup() as tasks:
            for exchange in exchanges:
                tasks.create_task(exchange.serve(self._server, self._lifespan_state))

    async def _cancel(self, record: Record, request: Any) -> None:
        """Cancel a request that runs here; else note it where the worker that runs it looks."""
        if not isinstance(request, str | int) or isinstance(request, bool):
            return
        named = record.sid, coerce_request_id(request)
        running = [each for each, key in self._running.items() if key == named]
        if running:
            for each in running:
                each.cancel()
            return
        keys = self._state.keys
        with self._state.guard():
            await self._state.scripts.cancel(
                keys=[keys.session(record.sid), keys.cancel(record.sid)],
                args=[digest(request), COMMIT_GRACE_MS, MAX_CANCELLED, keys.to_server(record.sid)],
            )
