"""HTTP+SSE (2024-11-05) over HTTP: `GET /sse` opens the stream, `POST /message?sessionId=…` takes messages.

What `/sse?preset=dev` selects stands in the address that its client is told to post to, and so holds for each message.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from mcp_types import INVALID_REQUEST
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from switchboard.catalog import wish
from switchboard.http.event_stream import send_events
from switchboard.http.jsonrpc import Malformed, accepts, checked, headers, is_json, parse
from switchboard.http.middleware.access import note
from switchboard.http.request_body import REFUSALS, read_body, refuse
from switchboard.http.scopes import EntryScopes, no_scopes, require
from switchboard.identity import current
from switchboard.sessions.one_stream import OneStreamSessions

MESSAGE_PATH: Final = "/message"
SSE_PATH: Final = "/sse"


class HttpSseEndpoint:
    """The two ASGI endpoints of HTTP+SSE; `switchboard.http.middleware.errors` answers what its sessions raise."""

    def __init__(self, sessions: OneStreamSessions, base_path: str = "", entry_scopes: EntryScopes = no_scopes) -> None:
        self._sessions = sessions
        self._base_path = base_path
        self._entry_scopes = entry_scopes

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /sse`."""
        try:
            _only(scope, "GET")
            if not accepts(headers(scope["headers"]), "text/event-stream"):
                raise Malformed(406, INVALID_REQUEST, "Accept must allow text/event-stream")
            selected = wish(scope["query_string"]).query
            events = self._sessions.open(current().principal, self._base_path + MESSAGE_PATH, selected)
            await send_events(events, receive, send, [])
        except REFUSALS as error:
            await refuse(error, scope, send)

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /message?sessionId=…`."""
        try:
            _only(scope, "POST")
            if not is_json(headers(scope["headers"])):
                raise Malformed(415, INVALID_REQUEST, "Content-Type must be application/json")
            principal = current().principal
            message = checked(parse(await read_body(receive)))
            note(scope, message)
            require(principal, [message], self._entry_scopes)
            record = await self._sessions.load(_session_id(scope), principal)
            await self._sessions.post(record, principal, message, Request(scope))
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b"Accepted"})
        except REFUSALS as error:
            await refuse(error, scope, send)


def _session_id(scope: Scope) -> str:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    ids: list[str] = [*query.get("sessionId", []), *query.get("session_id", [])]
    if len(ids) != 1:
        raise Malformed(400, INVALID_REQUEST, "The query must name one sessionId, as the endpoint event does")
    return ids[0]


def _only(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise Malformed(405, INVALID_REQUEST, f"Only {method} is served here")
