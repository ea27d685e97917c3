"""What a client inside a browser (MCP Inspector for one) may send and read: Fetch standard §3.2, CORS protocol.

On every answer, refusals included: without these headers the browser hides a 401's challenge from the page. There are
no credentials in the browser's sense (cookies): a token travels in a header that the page sets itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.common.hosts import OriginPatterns

WELL_KNOWN = "/.well-known/"
"""Metadata is public by definition."""


class PublicPaths:
    """A set of paths; one that ends with a slash stands for all below it."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        listed = tuple(paths)
        self._exact = frozenset(path for path in listed if not path.endswith("/"))
        self._below = (WELL_KNOWN, *(path for path in listed if path.endswith("/")))

    def __contains__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)


METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED = b", ".join(
    (b"Mcp-Session-Id", b"MCP-Protocol-Version", b"WWW-Authenticate", b"Retry-After", b"X-Request-Id", b"Link")
)
_ACCEPTED = frozenset(
    {b"accept", b"accept-language", b"authorization", b"cache-control", b"content-type", b"if-none-match"}
    | {b"last-event-id", b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"x-csrf-token"}
)
_ACCEPTED_PREFIXES = (b"mcp-", b"x-mcp-")
_FIELD_NAME = b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
_MAX_AGE = b"7200"
"""Seconds a preflight is remembered: the longest that Chromium honours."""


class Cors:
    """Answers preflights, and lets allowed origins read every answer. Public paths may be called from anywhere."""

    def __init__(self, app: ASGIApp, *, origins: Iterable[str], public: Iterable[str] = ()) -> None:
        self.app = app
        self._public = PublicPaths(public)
        self._origins = OriginPatterns(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin") if scope["type"] == "http" else b""
        if not origin or not self._allows(origin, scope["path"]):
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method"):
            await send({"type": "http.response.start", "status": 204, "headers": _preflight(scope, origin)})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, receive, _readable(send, origin))

    def _allows(self, origin: bytes, path: str) -> bool:
        return path in self._public or origin.decode("latin-1") in self._origins


def _preflight(scope: Scope, origin: bytes) -> list[tuple[bytes, bytes]]:
    asked = (name.strip().lower() for name in _header(scope, b"access-control-request-headers").split(b","))
    headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", METHODS),
        (
            b"access-control-allow-headers",
            b", ".join(sorted(_ACCEPTED | {name for name in asked if _acceptable(name)})),
        ),
        (b"access-control-max-age", _MAX_AGE),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    if _header(scope, b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def _acceptable(name: bytes) -> bool:
    """Every `Mcp-*` header: `Mcp-Param-*` names come from tools' schemas and cannot be listed beforehand."""
    return name.startswith(_ACCEPTED_PREFIXES) and not name.translate(None, _FIELD_NAME)


def _readable(send: Send, origin: bytes) -> Send:
    added = (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    )

    async def readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = (pair for pair in message.get("headers", ()) if not pair[0].startswith(b"access-control-"))
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return readable


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
