"""The largest request body, held while it is read and before anything is parsed (413)."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.http.responses import refuse


class BodyLimit:
    """Refuses a body of more than `limit` bytes: a declared one at once, a streamed one as soon as it is too long.

    Nothing is read here: a body is read by the endpoint, after the token was checked, so that nobody unknown
    has us keep one. A declared body passes straight through, since the HTTP parser holds it to its length. A streamed
    one is counted on its way. When it is too long, it is refused, and the endpoint sees a client that has left.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared, streamed = _framing(scope)
        if declared > self._limit:
            await _too_large(scope, send, self._limit)
        elif streamed:
            counted = _Counted(scope, receive, send, self._limit)
            try:
                await self.app(scope, counted.receive, counted.send)
            except ClientDisconnect:
                if not counted.refused:
                    raise
        else:
            await self.app(scope, receive, send)


class _Counted:
    """A request whose body is counted until its answer begins; after a refusal nothing goes either way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._read = 0
        self._begun = False
        self.refused = False

    async def receive(self) -> Message:
        if self.refused:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read <= self._limit or self._begun:
            return message
        self.refused = True
        await _too_large(self._scope, self._send, self._limit)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.refused:
            self._begun = True
            await self._send(message)


async def _too_large(scope: Scope, send: Send, limit: int) -> None:
    await refuse(scope, send, 413, f"The request body is larger than {limit} bytes (MAX_BODY_BYTES)")


def _framing(scope: Scope) -> tuple[int, bool]:
    """The declared length (0 when there is none), and whether the body comes in chunks."""
    length, streamed = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            length = max(length, int(value))
        elif name == b"transfer-encoding":
            streamed = True
    return length, streamed
