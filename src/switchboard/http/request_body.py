"""How the protocol endpoints read a body, and answer what cannot be served."""

from __future__ import annotations

from mcp_types import INVALID_REQUEST
from starlette.types import Receive, Scope, Send

from switchboard.http.jsonrpc import Malformed
from switchboard.http.middleware import rate_limit
from switchboard.http.middleware.rate_limit import RateLimited
from switchboard.http.responses import send_json
from switchboard.http.scopes import InsufficientScope, answer


class Answering:
    """A context that answers `Malformed`, `InsufficientScope` and `RateLimited`, raised before anything was sent."""

    __slots__ = ("_scope", "_send")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, Malformed):
            # The error belongs to no request known by now, hence `id: null` (JSON-RPC 2.0 §5).
            document = {"jsonrpc": "2.0", "id": None, "error": {"code": error.code, "message": error.message}}
            await send_json(self._send, error.status, document)
        elif isinstance(error, InsufficientScope):
            await answer(error, self._scope, self._send)
        elif isinstance(error, RateLimited):
            await rate_limit.answer(error, self._scope, self._send)
        else:
            return False
        return True


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
