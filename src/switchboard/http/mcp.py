"""`/mcp`: which era does a request belong to, and who serves it?

| what was sent | era | served by |
|---|---|---|
| `MCP-Protocol-Version` is a handshake revision or absent, and the body has no envelope | handshake | `handshake` |
| the header names anything else | modern | the SDK's entry, which also refuses unknown revisions |
| the body has the 2026-07-28 envelope, but the header is absent or names a handshake revision | modern | refused here |
| modern `subscriptions/listen` | modern | `sessions/streams/listen` |
| what the fast path of the gateway takes, of either era | | `modern_direct`, `handshake` |
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Final

from mcp.server.streamable_http import check_accept_headers
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    find_duplicated_routing_header,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
)
from mcp_types.methods import validate_client_request
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.http.event_stream import send_events
from switchboard.http.handshake import HandshakeEndpoint
from switchboard.http.jsonrpc import BEGUN, Malformed, accepts, bounded, checked, headers, is_enveloped, is_json, parse
from switchboard.http.middleware.access import note
from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.modern import Ending, serve
from switchboard.http.modern_direct import DirectRequests
from switchboard.http.request_body import Answering, read_body
from switchboard.http.responses import send_body, send_json
from switchboard.http.scopes import LISTEN, EntryScopes, declined, no_scopes, require
from switchboard.identity import Principal, current
from switchboard.protocol.direct_requests import FastRequest, KnownResponse, Prepare
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.patience import UNAVAILABLE
from switchboard.sessions.records import MOST_SUBSCRIPTIONS
from switchboard.sessions.streams.listen import ListenStream, Watch

AT_ONCE_S: Final = 0.05
"""How long a body may be waited for until what was read of its session before has to be read again."""

LONGEST_ACCEPT: Final = 256
"""Bytes of the longest `Accept` header of which it is remembered whether it is good."""

_MINUS_ZERO: Final = re.compile(rb"-0(?![.0-9])")

Registered = Callable[[ListenStream, str], AbstractAsyncContextManager[None]]

Watching = Callable[[list[str], Mapping[str, Any]], Awaitable[Watch]]
"""`(task ids, client capabilities)`; raises `MCPError` when the client may not follow tasks."""

Readable = Callable[[Iterable[str]], Awaitable[list[str]]]
"""Those of the URIs that the request being served may read."""


class McpEndpoint:
    """The ASGI application behind `/mcp`; what the rooms raise is answered by `switchboard.http.middleware.errors`."""

    def __init__(
        self,
        handshake: HandshakeEndpoint,
        modern: ASGIApp,
        bus: RedisBus,
        *,
        listening: Registered,
        watching: Watching,
        readable: Readable,
        ending: Ending,
        server_info: dict[str, Any],
        prepare: Prepare,
        entry_scopes: EntryScopes = no_scopes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._entry_scopes = entry_scopes
        self._handshake = handshake
        self._modern = modern
        self._bus = bus
        self._listening = listening
        self._watching = watching
        self._readable = readable
        self._ending = ending
        self._prepare = prepare
        self._direct = DirectRequests(ending)
        self._server_info = server_info
        self._methods: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "POST": self._post,
            "GET": self._get,
            "DELETE": self._delete,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._methods.get(scope["method"])
        if serve is None:
            await send_body(send, 405, b"", b"application/json", [(b"allow", b"GET, POST, DELETE")])
            return
        async with Answering(scope, send):
            await serve(scope, receive, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = headers(scope["headers"])
        version = found.get("mcp-protocol-version")
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._post_modern(found, scope, receive, send)
            return
        value = parse(await _session_body(scope, receive))
        messages = value if isinstance(value, list) else [value]
        for message in messages:
            bounded(message)
        note(scope, value)
        require(_principal(), messages, self._entry_scopes)
        if is_enveloped(value) and value.get("method") != "initialize":
            await _reject_contradiction(value, found, send)
            return
        await self._handshake.post(value, found, _principal(), scope, receive, send)

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _handshake_only(scope)
        await self._handshake.get(found, _principal(), scope, receive, send)

    async def _delete(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._handshake.delete(_handshake_only(scope), _principal(), scope, send)

    async def _post_modern(self, found: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        if not is_json(found.get("content-type", "")):
            raise Malformed(415, INVALID_REQUEST, "Content-Type must be application/json")
        body = await read_body(receive)
        value = parse(body)
        bounded(value)
        note(scope, value)
        require(_principal(), [value], self._entry_scopes)
        if isinstance(value, dict) and value.get("method") == LISTEN and "id" in value:
            await self._listen(value, found, scope, receive, send)
            return

        out, prepared = _retriable(scope, send), self._prepared(body, value, found, scope)
        if isinstance(prepared, KnownResponse):
            await send_body(send, 200, prepared.response, b"application/json")
        elif prepared is None:
            await serve(self._modern, self._ending, scope, _replayed(body, receive), out)
        else:

            def http() -> Request:
                return Request(scope, _replayed(body, receive))

            await self._direct.serve(prepared, value, http, scope, receive, out)

    def _prepared(self, body: bytes, value: Any, found: dict[str, str], scope: Scope) -> FastRequest | None:
        """What serves the message without the SDK's entry, if anything does and the entry would not refuse it."""
        accepted = [header for name, header in scope["headers"] if name == b"accept"]
        # The entry goes by the first of several Accept headers, and takes -0 for a whole number.
        if len(accepted) != 1 or len(accepted[0]) > LONGEST_ACCEPT or not _accepted(accepted[0]):
            return None
        if _MINUS_ZERO.search(body):
            return None
        route = classify_inbound_request(value, headers=found)
        if not isinstance(route, InboundModernRoute):
            return None
        return self._prepare(route.protocol_version, value, None)

    async def _listen(
        self, value: dict[str, Any], found: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """The checks of the SDK's own entry, then our stream."""
        message = checked(value)
        if not accepts(found.get("accept", ""), "text/event-stream"):
            raise Malformed(406, INVALID_REQUEST, "Accept must allow text/event-stream")
        rejection = _rejected(message, found, scope)
        if rejection is not None:
            await _reject(send, message["id"], rejection)
            return
        try:
            validate_client_request(LISTEN, found["mcp-protocol-version"], message["params"])
            params = SubscriptionsListenRequestParams.model_validate(message["params"], by_name=False)
        except ValidationError:
            await _reject(send, message["id"], InboundLadderRejection(INVALID_PARAMS, "Invalid request parameters"))
            return
        try:
            honored = await self._honored(params.notifications)
            watch = await self._watch(params)
        except MCPError as refused:
            error = refused.error
            await _reject(send, message["id"], InboundLadderRejection(error.code, error.message, error.data))
            return
        stream = ListenStream(
            message["id"],
            honored,
            server_info=self._server_info,
            expires_at=_principal().expires_at,
            watch=watch,
            still_valid=current().still_valid,
            clock=self._clock,
        )
        counted = self._listening(stream, _principal().owner)
        await send_events(stream.events(self._bus, counted), receive, send, [], scope)

    async def _honored(self, wanted: SubscriptionFilter) -> SubscriptionFilter:
        """What the principal may hear of: the rest is left out of the acknowledgement, as the revision has it.

        Raises:
            MCPError: more resources are named than one stream may follow.
        """
        named = list(dict.fromkeys(wanted.resource_subscriptions or ()))
        if len(named) > MOST_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"A listen stream follows {MOST_SUBSCRIPTIONS} resources at most")
        refused = declined(_principal())
        left = {name: value for name, value in wanted.model_dump(by_alias=True).items() if name not in refused}
        left["resourceSubscriptions"] = await self._readable(named) or None
        return SubscriptionFilter.model_validate(left, by_name=False)

    async def _watch(self, params: SubscriptionsListenRequestParams) -> Watch | None:
        """The tasks to follow, if the filter names any (SEP-2663)."""
        wanted = (params.notifications.model_extra or {}).get("taskIds")
        if wanted is None:
            return None
        if not isinstance(wanted, list) or not all(isinstance(task, str) for task in wanted):
            raise MCPError(INVALID_PARAMS, "taskIds must be a list of strings")
        declared: Any = (params.meta or {}).get(CLIENT_CAPABILITIES_META_KEY)
        return await self._watching(wanted, declared or {})


async def _session_body(scope: Scope, receive: Receive) -> bytes:
    """The body of a request whose session is being read already: read anew when it was waited for."""
    loop = asyncio.get_running_loop()
    asked = loop.time()
    body = await read_body(receive)
    if loop.time() - asked > AT_ONCE_S:
        scope.get("state", {}).pop(BEGUN, None)
    return body


def _principal() -> Principal:
    return current().principal


def _handshake_only(scope: Scope) -> dict[str, str]:
    """GET and DELETE exist in the handshake era alone (2026-07-28: 405)."""
    found = headers(scope["headers"])
    version = found.get("mcp-protocol-version")
    if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise Malformed(405, INVALID_REQUEST, "This protocol version has POST only")
    return found


def _rejected(message: dict[str, Any], found: dict[str, str], scope: Scope) -> InboundLadderRejection | None:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    doubled = find_duplicated_routing_header(raw)
    if doubled is not None:
        return InboundLadderRejection(HEADER_MISMATCH, f"{doubled} header appears more than once")
    verdict = classify_inbound_request(message, headers=found)
    return verdict if isinstance(verdict, InboundLadderRejection) else None


async def _reject_contradiction(value: dict[str, Any], found: dict[str, str], send: Send) -> None:
    """A modern body whose header does not say so: the SDK's ladder words the refusal."""
    message = checked(value)
    verdict = classify_inbound_request(message, headers=found)
    if not isinstance(verdict, InboundLadderRejection):  # the header was a handshake revision, so it cannot match
        verdict = InboundLadderRejection(HEADER_MISMATCH, "MCP-Protocol-Version does not match the request")
    await _reject(send, message.get("id"), verdict)


async def _reject(send: Send, request_id: Any, rejection: InboundLadderRejection) -> None:
    error: dict[str, Any] = {"code": rejection.code, "message": rejection.message}
    if rejection.data is not None:
        error["data"] = rejection.data
    answer: dict[str, Any] = {"jsonrpc": "2.0", "error": error}
    if request_id is not None:
        answer["id"] = request_id
    await send_json(send, ERROR_CODE_HTTP_STATUS.get(rejection.code, 400), answer)


@lru_cache(maxsize=256)
def _accepted(header: bytes) -> bool:
    """Whether the SDK's entry takes this `Accept` header."""
    return check_accept_headers(Request({"type": "http", "headers": [(b"accept", header)]})) == (True, True)


def _retriable(scope: Scope, send: Send) -> Send:
    """A `send` that answers 503 with `Retry-After` what could not be served because Redis cannot be reached."""

    async def marked(message: Any) -> None:
        if message["type"] == "http.response.start" and scope.get(UNAVAILABLE) and message["status"] == 200:
            kind = dict(message["headers"]).get(b"content-type", b"")
            if kind.startswith(b"application/json"):  # a stream has begun with 200, and says the rest itself
                again = (b"retry-after", str(RETRY_AFTER).encode())
                message = {**message, "status": 503, "headers": [*message["headers"], again]}
        await send(message)

    return marked


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, and then what really comes."""
    pending: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return pending.pop() if pending else await receive()

    return again
