"""How the protocol endpoints read a body, and answer what cannot be served."""

from __future__ import annotations

from typing import Final

from mcp_types import INVALID_REQUEST
from starlette.types import Receive, Scope, Send

from switchboard.http.jsonrpc import Malformed
from switchboard.http.middleware import rate_limit
from switchboard.http.middleware.rate_limit import RateLimited
from switchboard.http.responses import send_json
from switchboard.http.scopes import InsufficientScope, answer

REFUSALS: Final = (Malformed, InsufficientScope, RateLimited)
"""What the endpoints raise before anything was sent, for `refuse` to answer."""


async def refuse(error: Exception, scope: Scope, send: Send) -> None:
    """Answer one of `REFUSALS`; raises any other error."""
    if isinstance(error, Malformed):
        # The error belongs to no request known by now, hence `id: null` (JSON-RPC 2.0 §5).
        document = {"jsonrpc": "2.0", "id": None, "error": {"code": error.code, "message": error.message}}
        await send_json(send, error.status, document)
    elif isinstance(error, InsufficientScope):
        await answer(error, scope, send)
    elif isinstance(error, RateLimited):
        await rate_limit.answer(error, scope, send)
    else:
        raise error


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size is limited further out.

    Raises:
        Malformed: the client left in the middle of it.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        whole: bytes = message.get("body", b"")
        return whole
    parts: list[bytes] = []
    while True:
        if message["type"] == "http.disconnect":
            raise Malformed(400, INVALID_REQUEST, "The client left before its request was complete")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
