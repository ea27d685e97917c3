"""MCP over WebSocket at `/mcp`: the subprotocol `mcp`, a JSON-RPC message in each text frame, either way.

No revision of the specification has this transport; the official SDKs had it before 2.0, and clients that use it are
served as they expect. The handshake era only. The session lives and ends with its socket, on the worker that took it.

| closed with | because |
|---|---|
| 1000 | the session is over |
| 1003 | a binary frame came |
| 1008 | the token expired or was revoked |
| 1009 | a message was larger than MAX_BODY_BYTES |
| 1012 | the worker leaves: connect again |
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, Final

import structlog
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from switchboard.errors import SessionGone, StateBusy, StateUnavailable, TooMany
from switchboard.http.jsonrpc import Malformed, checked, is_enveloped, parse
from switchboard.http.middleware.access import noted, word
from switchboard.http.middleware.rate_limit import RateLimited, spend_message
from switchboard.http.responses import refuse
from switchboard.http.scopes import EntryScopes, InsufficientScope, no_scopes, require, told
from switchboard.identity import Principal, current
from switchboard.sessions.one_stream import QUIET, OneStream, OneStreamSessions

SUBPROTOCOL: Final = "mcp"

ENDINGS: Final = {"over": 1000, "revoked": 1008, "leaving": 1012}
UNSUPPORTED_DATA: Final = 1003
TOO_LARGE: Final = 1009

log = structlog.get_logger(__name__)


class _Closed(Exception):
    """The connection ends: because the client left (no code), or because of what it sent."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class WebSocketEndpoint:
    """The ASGI application behind a WebSocket; it has passed the same checks as any request when it gets here."""

    def __init__(self, sessions: OneStreamSessions, largest: int, entry_scopes: EntryScopes = no_scopes) -> None:
        self._sessions = sessions
        self._largest = largest
        self._entry_scopes = entry_scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if SUBPROTOCOL not in scope["subprotocols"]:
            await refuse(scope, send, 400, f"Ask for the subprotocol {SUBPROTOCOL!r} (Sec-WebSocket-Protocol)")
            return
        await receive()  # the client's wish to connect
        principal = current().principal
        async with self._sessions.session(principal, "websocket") as session:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            code = await _Conversation(self, session, principal, scope, receive, send).run()
        if code is not None:
            await send({"type": "websocket.close", "code": code})

    async def take(self, text: str, session: OneStream, principal: Principal, scope: Scope) -> dict[str, Any] | None:
        """Take one message; what must be said about it at once, if anything.

        Raises:
            SessionGone: the session ended.
        """
        message: Any = None
        try:
            limited = await _limited(scope)  # before it is read: what cannot be read counts too
            message = _spoken(text)
            if limited is not None:
                return _error(message, INVALID_REQUEST, limited.message)
            _must_be_handshake(message)
            about = noted(scope, message)
            log.info(
                f"{about.text} on a websocket {word(principal.subject)}", **about.fields, person=word(principal.subject)
            )
            require(principal, [message], self._entry_scopes)
            record = await self._sessions.load(session.sid, principal)
            await self._sessions.post(record, principal, message, Request({**scope, "type": "http", "method": "GET"}))
        except Malformed as error:
            return _error(message, error.code, error.message)
        except InsufficientScope as error:
            return _error(message, INVALID_REQUEST, told(error, scope))
        except TooMany as error:
            return _error(message, INVALID_REQUEST, str(error))
        except StateUnavailable as error:
            busy = str(error) if isinstance(error, StateBusy) else "Shared state is unavailable now; try again soon"
            return _error(message, INTERNAL_ERROR, busy)
        return None

    @property
    def largest(self) -> int:
        """Bytes a message may have."""
        return self._largest


class _Conversation:
    """One accepted socket: a task that reads, and one that writes."""

    def __init__(
        self,
        endpoint: WebSocketEndpoint,
        session: OneStream,
        principal: Principal,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._endpoint = endpoint
        self._session = session
        self._principal = principal
        self._scope = scope
        self._receive = receive
        self._send = send

    async def run(self) -> int | None:
        """Until either side ends it; the code to close with, or none when the client has left."""
        code = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._write())
        except* _Closed as closed:
            code = next((each.code for each in closed.exceptions if isinstance(each, _Closed)), None)
        return code

    async def _read(self) -> None:
        while True:
            text = self._text(await self._receive())
            try:
                said = await self._endpoint.take(text, self._session, self._principal, self._scope)
            except SessionGone as error:
                raise _Closed(ENDINGS["over"]) from error
            if said is not None:
                await self._say(json.dumps(said))

    def _text(self, event: Message) -> str:
        if event["type"] == "websocket.disconnect":
            raise _Closed
        text: str | None = event.get("text")
        if text is None:
            raise _Closed(UNSUPPORTED_DATA)
        if len(text) > self._endpoint.largest or len(text.encode()) > self._endpoint.largest:
            raise _Closed(TOO_LARGE)
        return text

    async def _write(self) -> None:
        async with aclosing(self._session.messages) as messages:
            async for message in messages:
                if message != QUIET:  # the server pings by itself
                    await self._say(message)
        raise _Closed(ENDINGS[self._session.ending])

    async def _say(self, text: str) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text})
        except OSError as error:  # what servers raise when the client has gone
            raise _Closed from error


async def _limited(scope: Scope) -> RateLimited | None:
    """Count one message; the refusal when there were too many."""
    try:
        await spend_message(scope)
    except RateLimited as limited:
        return limited
    return None


def _spoken(text: str) -> dict[str, Any]:
    value = parse(text.encode())
    if isinstance(value, list):
        raise Malformed(400, INVALID_REQUEST, "Send one message in each frame")
    return checked(value)


def _must_be_handshake(message: dict[str, Any]) -> None:
    if is_enveloped(message):
        raise Malformed(400, INVALID_REQUEST, "2026-07-28 is not served over WebSocket: POST to the same URL")


def _error(message: Any, code: int, text: str) -> dict[str, Any] | None:
    """An error for a request, or for what could not be read at all; a notification has no answer."""
    known = isinstance(message, dict)
    if known and ("id" not in message or "method" not in message):
        log.info("message.refused", reason=text)
        return None
    return {"jsonrpc": "2.0", "id": message["id"] if known else None, "error": {"code": code, "message": text}}
