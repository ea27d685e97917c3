"""The `Mcp-Session-Id` era over HTTP: POST, GET and DELETE on `/mcp` (2025-11-25 basic/transports, and earlier)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Final

from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from switchboard.common import strict_json
from switchboard.errors import SessionGone
from switchboard.http.event_stream import send_events
from switchboard.http.jsonrpc import (
    BEGUN,
    Headers,
    Malformed,
    Message,
    accepts,
    checked,
    checked_batch,
    is_json,
    is_request,
    is_response,
    text,
)
from switchboard.http.middleware.rate_limit import spend_batch
from switchboard.http.responses import send_body
from switchboard.identity import Principal
from switchboard.protocol.direct_requests import (
    CalledTool,
    FastPath,
    FastRequest,
    KnownResponse,
    Prepared,
    PreparedInContext,
)
from switchboard.sessions.records import Record
from switchboard.sessions.service import SessionService
from switchboard.sessions.streams.frames import OPENED, parse_event_id
from switchboard.sessions.streams.reply import Reply
from switchboard.state.keys import STANDALONE

BATCHING: Final = "2025-03-26"
"""The only revision with JSON-RPC batches."""

_JSON: Final = b"application/json"


class HandshakeEndpoint:
    """Answers requests of handshake sessions."""

    def __init__(self, sessions: SessionService, fast_path: FastPath) -> None:
        self._sessions = sessions
        self._fast_path = fast_path

    async def post(
        self,
        value: Any,
        headers: Headers,
        who: Principal,
        scope: Scope,
        receive: Receive,
        send: Send,
        called: CalledTool | None = None,
    ) -> None:
        """Serve what was posted.

        Args:
            called: the tool that it calls, if that was looked up.

        Raises:
            Malformed: with the status and error to answer.
            RateLimited: the batch has more messages than the client may send now.
            SessionGone, StateUnavailable: likewise.
        """
        if not is_json(headers):
            raise Malformed(415, INVALID_REQUEST, "Content-Type must be application/json")
        if not accepts(headers, "application/json", "text/event-stream"):
            raise Malformed(406, INVALID_REQUEST, "Accept must allow application/json and text/event-stream")
        if called is None and isinstance(value, dict) and value.get("method") == "initialize" and "id" in value:
            await self._initialize(checked(value), headers, who, send)
            return
        record = await self._record(headers, who, scope)
        prepared = None if record.pending else self._prepared(record, value, called)
        if prepared is None:
            messages = _messages(value, record)
            await spend_batch(scope, len(messages))
            batch = isinstance(value, list)
            await self._serve(record, who, messages, Request(scope), batch=batch, receive=receive, send=send)
        elif isinstance(prepared, KnownResponse):
            self._sessions.admit(record.sid, 1)
            await _send(send, 200, prepared.response, record.sid)
        elif isinstance(prepared, PreparedInContext):
            reply = self._sessions.start(record, who, [value], Request(scope), prepared)
            await self._respond(reply, batch=False, receive=receive, send=send)
        else:
            await self._serve_directly(record, who, prepared, value, scope, receive, send)

    async def _serve(
        self,
        record: Record,
        who: Principal,
        messages: list[Message],
        request: Request,
        *,
        batch: bool,
        receive: Receive,
        send: Send,
    ) -> None:
        requests = [message for message in messages if is_request(message)]
        for message in messages:
            if is_response(message):
                await self._sessions.answered(record, message)
            elif not is_request(message):
                await self._sessions.notified(record, who, message, request)
        if not requests:
            await _send(send, 202, b"", record.sid)
            return
        reply = self._sessions.start(record, who, requests, request)
        await self._respond(reply, batch=batch, receive=receive, send=send)

    async def get(self, headers: Headers, who: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the standalone stream, or resume a stream after `Last-Event-ID`.

        Raises:
            Malformed, SessionGone, StateUnavailable: as `post`.
        """
        if not accepts(headers, "text/event-stream"):
            raise Malformed(406, INVALID_REQUEST, "Accept must allow text/event-stream")
        record = await self._record(headers, who, scope)
        last = text(headers, b"last-event-id") if b"last-event-id" in headers else None
        events = await self._events(record, who, last)
        await send_events(events, receive, send, _session(record.sid), scope)

    async def delete(self, headers: Headers, who: Principal, scope: Scope, send: Send) -> None:
        """End the session.

        Raises:
            Malformed, SessionGone, StateUnavailable: as `post`.
        """
        await self._sessions.end(await self._record(headers, who, scope))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _initialize(self, message: Message, headers: Headers, who: Principal, send: Send) -> None:
        sid = text(headers, b"mcp-session-id") if b"mcp-session-id" in headers else None
        try:
            opened = await self._sessions.initialize(who, message, sid)
        except SessionGone:
            raise
        except Exception as error:  # the kernel's own ladder says which errors are the client's
            known = handler_exception_to_error_data(error)
            if known is None:
                raise
            raise Malformed(400, known.code, known.message) from error
        await _send(send, 200, strict_json.written(opened.response), opened.sid)

    async def _record(self, headers: Headers, who: Principal, scope: Scope) -> Record:
        version = text(headers, b"mcp-protocol-version") if b"mcp-protocol-version" in headers else None
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            supported = ", ".join(HANDSHAKE_PROTOCOL_VERSIONS)
            raise Malformed(400, INVALID_REQUEST, f"Unsupported protocol version: {version} (supported: {supported})")
        sid = text(headers, b"mcp-session-id")
        if not sid:
            raise Malformed(400, INVALID_REQUEST, "Missing Mcp-Session-Id header: send initialize first")
        begun = scope.get("state", {}).pop(BEGUN, None)
        record = await self._sessions.records.load(sid, who.owner, begun)
        if version is not None and version != record.protocol_version:
            raise Malformed(
                400,
                INVALID_REQUEST,
                f"MCP-Protocol-Version is {version}, but this session uses {record.protocol_version}",
            )
        return record

    def _prepared(self, record: Record, value: Any, called: CalledTool | None) -> FastRequest | None:
        """What serves the message without the SDK's kernel, if anything does."""
        declared = record.client_params.capabilities
        return self._fast_path.prepare(record.protocol_version, value, declared, called)

    async def _serve_directly(
        self,
        record: Record,
        who: Principal,
        prepared: Prepared,
        message: Message,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        def stream(reply: Reply) -> Awaitable[None]:
            return send_events(self._sessions.replying(reply), receive, send, _session(record.sid))

        def http() -> Request:
            return Request(scope)

        response, streamed = await self._sessions.directly(record, who, prepared, message, http, stream)
        if streamed:
            return
        if response is None:  # cancelled, as in `_respond`
            await send_events(_nothing(), receive, send, _session(record.sid))
            return
        await _send(send, 200, strict_json.written(response), record.sid)

    async def _respond(self, reply: Reply, *, batch: bool, receive: Receive, send: Send) -> None:
        await self._sessions.settle(reply)
        sid = reply.record.sid
        if reply.committed:
            try:
                await send_events(self._sessions.replying(reply), receive, send, _session(sid))
            finally:
                reply.detach()
            return
        if not reply.complete:
            raise SessionGone(sid)
        if not reply.outcomes:  # cancelled: there is no response, and a stream may end without one
            await send_events(_nothing(), receive, send, _session(sid))
            return
        outcomes = reply.outcomes if batch else reply.outcomes[0]
        await _send(send, 200, strict_json.written(outcomes), sid)

    async def _events(self, record: Record, who: Principal, last_event_id: str | None) -> AsyncGenerator[bytes]:
        if last_event_id is None:
            return self._sessions.listen(record, who.expires_at, None)
        parsed = parse_event_id(last_event_id)
        if parsed is None:
            raise Malformed(400, INVALID_REQUEST, "Last-Event-ID is none of this server's")
        stream, last = parsed
        if stream == STANDALONE:
            return self._sessions.listen(record, who.expires_at, last)
        follower = self._sessions.follower(record, stream, last)
        if not await follower.known():
            raise Malformed(400, INVALID_REQUEST, "The stream of this Last-Event-ID cannot be replayed any more")
        return self._sessions.resuming(follower)


async def _nothing() -> AsyncGenerator[bytes]:
    yield OPENED


def _messages(value: Any, record: Record) -> list[Message]:
    if not isinstance(value, list):
        return [checked(value)]
    if record.protocol_version != BATCHING:
        raise Malformed(400, INVALID_REQUEST, f"Batches exist in {BATCHING} only; send one message at a time")
    return checked_batch(value)


def _session(sid: str) -> list[tuple[bytes, bytes]]:
    return [(b"mcp-session-id", sid.encode())]


async def _send(send: Send, status: int, body: bytes, sid: str) -> None:
    await send_body(send, status, body, _JSON, _session(sid))
