"""Answers of the HTTP room itself: small JSON bodies, and refusals in the shape of a JSON-RPC error.

A refusal knows no request id (nothing of the body was read), so `id` is null, as JSON-RPC 2.0 §5 asks.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache
from typing import Any, Final

from mcp_types.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST
from starlette.types import Receive, Scope, Send

Headers = Collection[tuple[bytes, bytes]]

Whole = Callable[[int, bytes, bytes, Headers], Awaitable[None]]
"""`(status, body, content type, headers besides)`: sends one whole response."""

_POLICY_VIOLATION = 1008
"""WebSocket close code (RFC 6455 §7.4.1) for a connection that is refused."""


async def send_body(send: Send, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
    """Send one whole response: by one call where the way out has one for it."""
    whole: Whole | None = getattr(send, "whole", None)
    if whole is not None:
        await whole(status, body, content_type, headers)
        return
    fixed = ((b"content-type", content_type), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, document: Any, headers: Headers = ()) -> None:
    """Send `document` as JSON."""
    body = json.dumps(document, separators=(",", ":")).encode()
    await send_body(send, status, body, b"application/json", headers)


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    message: str,
    *,
    headers: Headers = (),
    data: dict[str, Any] | None = None,
) -> None:
    """Refuse a request, or a WebSocket before its handshake, with a JSON-RPC error and an HTTP status."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": message[:120]})
        return
    code = INTERNAL_ERROR if status >= 500 else INVALID_REQUEST
    out = _websocket_denial(send) if scope["type"] == "websocket" else send
    kept = data is None and len(message) <= _LONGEST_KEPT
    body = _kept_error(code, message) if kept else _error(code, message, data)
    await send_body(out, status, body, b"application/json", headers)


def _error(code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}, separators=(",", ":")).encode()


_LONGEST_KEPT: Final = 200
_kept_error = lru_cache(maxsize=256)(_error)
"""The same few refusals are said again and again."""


class Elsewhere:
    """Stands at the root for an endpoint that has a path before it: says so to whoever came without."""

    def __init__(self, base_uri: str) -> None:
        self._base_uri = base_uri

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        told = f"Everything of this server is below {self._base_uri} (BASE_URI); a proxy must not strip its path"
        await refuse(scope, send, 404, told)


def _websocket_denial(send: Send) -> Send:
    """The same messages under the names of ASGI's `websocket.http.response` extension."""

    async def renamed(message: Any) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return renamed
