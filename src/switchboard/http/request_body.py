"""How the protocol endpoints read a body, and answer what cannot be served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp_types import INVALID_REQUEST
from starlette.types import Receive, Scope, Send

from switchboard.http.jsonrpc import Malformed
from switchboard.http.middleware import rate_limit
from switchboard.http.middleware.rate_limit import RateLimited
from switchboard.http.responses import send_json
from switchboard.http.scopes import InsufficientScope, answer


@asynccontextmanager
async def answering(scope: Scope, send: Send) -> AsyncIterator[None]:
    """Answer `Malformed`, `InsufficientScope` and `RateLimited` raised inside, before anything was sent."""
    try:
        yield
    except Malformed as error:
        # The error belongs to no request known by now, hence `id: null` (JSON-RPC 2.0 §5).
        document = {"jsonrpc": "2.0", "id": None, "error": {"code": error.code, "message": error.message}}
        await send_json(send, error.status, document)
    except InsufficientScope as error:
        await answer(error, scope, send)
    except RateLimited as limited:
        await rate_limit.answer(limited, scope, send)


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size is limited further out.

    Raises:
        Malformed: the client left in the middle of it.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed(400, INVALID_REQUEST, "The client left before its request was complete")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
