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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Final

from mcp.server.streamable_http import check_accept_headers
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    NAME_BEARING_METHODS,
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
    PROTOCOL_VERSION_META_KEY,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
)
from mcp_types.methods import validate_client_request
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.http.event_stream import send_events
from switchboard.http.handshake import HandshakeEndpoint
from switchboard.http.jsonrpc import (
    BEGUN,
    LONGEST_ACCEPT,
    Headers,
    Malformed,
    accepts,
    bounded,
    checked,
    headers,
    is_enveloped,
    is_json,
    parse,
    text,
)
from switchboard.http.middleware import tracing
from switchboard.http.middleware.access import note, note_call, note_era
from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.modern import Ending, serve
from switchboard.http.modern_direct import DirectRequests
from switchboard.http.request_body import REFUSALS, read_body, refuse
from switchboard.http.responses import send_body, send_json
from switchboard.http.scopes import LISTEN, EntryScopes, declined, no_scopes, require, require_for_call
from switchboard.identity import Principal, current
from switchboard.protocol.direct_requests import CalledTool, FastPath, FastRequest, KnownResponse
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.patience import UNAVAILABLE
from switchboard.sessions.records import MOST_SUBSCRIPTIONS
from switchboard.sessions.streams.listen import ListenStream, Watch
from switchboard.sessions.streams.stream_list import StreamList
from switchboard.telemetry import spans

AT_ONCE_S: Final = 0.05
"""How long a body may be waited for until what was read of its session before has to be read again."""

_HANDSHAKE: Final = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS) | {None}
_MODERN: Final = {version.encode(): version for version in MODERN_PROTOCOL_VERSIONS}
_ROUTING: Final = (b"mcp-protocol-version", b"mcp-method", b"mcp-name")

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
        listed: StreamList,
        server_info: dict[str, Any],
        fast_path: FastPath,
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
        self._fast_path = fast_path
        self._listed = listed
        self._direct = DirectRequests(ending, self._held)
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
        try:
            await serve(scope, receive, send)
        except REFUSALS as error:
            await refuse(error, scope, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = headers(scope["headers"])
        if found.get(b"mcp-protocol-version") not in _HANDSHAKE:
            note_era(scope, "modern")
            await self._post_modern(found, scope, receive, send)
            return
        note_era(scope, "handshake")
        value = parse(await _session_body(scope, receive))
        called = self._looked_at(scope, value, value if isinstance(value, list) else (value,))
        if is_enveloped(value) and value.get("method") != "initialize":
            await _reject_contradiction(value, found, send)
            return
        await self._handshake.post(value, found, _principal(), scope, receive, send, called)

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _handshake_only(scope)
        await self._handshake.get(found, _principal(), scope, receive, send)

    async def _delete(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._handshake.delete(_handshake_only(scope), _principal(), scope, send)

    async def _post_modern(self, found: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_json(found):
            raise Malformed(415, INVALID_REQUEST, "Content-Type must be application/json")
        body = await read_body(receive)
        value = parse(body)
        called = self._looked_at(scope, value, (value,))
        if called is None and isinstance(value, dict) and value.get("method") == LISTEN and "id" in value:
            await self._listen(value, found, scope, receive, send)
            return
        prepared = self._prepared(body, value, found, scope, called)
        if isinstance(prepared, KnownResponse):
            await send_body(send, 200, prepared.response, b"application/json")
        elif prepared is None:
            await serve(
                self._modern, self._ending, scope, _replayed(body, receive), _retriable(scope, send), self._held
            )
        else:

            def http() -> Request:
                return Request(scope, _replayed(body, receive))

            await self._direct.serve(prepared, value, http, scope, receive, send)

    def _held(self, end: Callable[[], None]) -> Callable[[], None]:
        return self._listed.add("reply", "modern", _principal().owner, "", end)

    def _looked_at(self, scope: Scope, value: Any, messages: Sequence[Any]) -> CalledTool | None:
        """Look at what was posted, note it for the log, and refuse what is out of bounds, or what the principal has no
        scope for. The tool that it calls, if it is a call of one that the catalog has.

        Raises:
            Malformed, InsufficientScope: accordingly.
        """
        called = self._fast_path.called(value)
        for message in messages:
            bounded(message)
        if spans.on():
            tracing.adopt(scope, value)
        principal = current().principal
        if called is None:
            note(scope, value)
            require(principal, messages, self._entry_scopes)
        else:
            note_call(scope, called.name, called.provider)
            require_for_call(principal, called.scopes)
        return called

    def _prepared(
        self, body: bytes, value: Any, found: Headers, scope: Scope, called: CalledTool | None
    ) -> FastRequest | None:
        """What serves the message without the SDK's entry, if anything does and the entry would not refuse it."""
        # The entry goes by the first of several Accept headers, and takes -0 for a whole number.
        accept = found.get(b"accept", b"") if len(found) == len(scope["headers"]) else _only_accept(scope)
        if not accept or len(accept) > LONGEST_ACCEPT or not _accepted(accept) or _MINUS_ZERO.search(body):
            return None
        version = _version_of(value, found)
        return None if version is None else self._fast_path.prepare(version, value, None, called)

    async def _listen(self, value: dict[str, Any], found: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        """The checks of the SDK's own entry, then our stream."""
        message = checked(value)
        if not accepts(found, "text/event-stream"):
            raise Malformed(406, INVALID_REQUEST, "Accept must allow text/event-stream")
        rejection = _rejected(message, found, scope)
        if rejection is not None:
            await _reject(send, message["id"], rejection)
            return
        try:
            validate_client_request(LISTEN, text(found, b"mcp-protocol-version"), message["params"])
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


def _handshake_only(scope: Scope) -> Headers:
    """GET and DELETE exist in the handshake era alone (2026-07-28: 405)."""
    found = headers(scope["headers"])
    if found.get(b"mcp-protocol-version") not in _HANDSHAKE:
        raise Malformed(405, INVALID_REQUEST, "This protocol version has POST only")
    return found


def _rejected(message: dict[str, Any], found: Headers, scope: Scope) -> InboundLadderRejection | None:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    doubled = find_duplicated_routing_header(raw)
    if doubled is not None:
        return InboundLadderRejection(HEADER_MISMATCH, f"{doubled} header appears more than once")
    verdict = classify_inbound_request(message, headers=_routing(found))
    return verdict if isinstance(verdict, InboundLadderRejection) else None


def _version_of(value: Any, found: Headers) -> str | None:
    """The version that a message of the modern era says it is of; `None` if the SDK's ladder refuses it."""
    params: Any = value.get("params") if type(value) is dict else None
    meta: Any = params.get("_meta") if type(params) is dict else None
    version = _MODERN.get(found.get(b"mcp-protocol-version", b""))
    if (
        version is not None
        and type(meta) is dict
        and meta.get(PROTOCOL_VERSION_META_KEY) == version
        and CLIENT_CAPABILITIES_META_KEY in meta
        and text(found, b"mcp-method") == value.get("method")
        and _is_named(params, value["method"], found)
    ):
        return version
    route = classify_inbound_request(value, headers=_routing(found))
    return route.protocol_version if isinstance(route, InboundModernRoute) else None


def _is_named(params: dict[str, Any], method: str, found: Headers) -> bool:
    """Whether the header names what the parameters do, in the same letters."""
    member = NAME_BEARING_METHODS.get(method)
    name = params.get(member) if member is not None else None
    return name is None or (text(found, b"mcp-name") == name and b"mcp-name" in found and not name.startswith("=?"))


def _routing(found: Headers) -> dict[str, str]:
    """The headers that the SDK's ladder reads."""
    return {name.decode(): text(found, name) for name in _ROUTING if name in found}


def _only_accept(scope: Scope) -> bytes:
    """The `Accept` header, if there is but one; else nothing."""
    sent: list[bytes] = [value for name, value in scope["headers"] if name == b"accept"]
    return sent[0] if len(sent) == 1 else b""


async def _reject_contradiction(value: dict[str, Any], found: Headers, send: Send) -> None:
    """A modern body whose header does not say so: the SDK's ladder words the refusal."""
    message = checked(value)
    verdict = classify_inbound_request(message, headers=_routing(found))
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
