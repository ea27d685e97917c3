"""The largest request body, held before anything is parsed (413)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.edge.replies import refuse


class BodyLimit:
    """Refuses a body of more than `limit` bytes: a declared one at once, a streamed one as soon as it is too long.

    A declared body passes straight through, since the HTTP parser holds it to its length. A streamed one is read here
    first, so that the room below never sees half of a request.
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
            await self._too_large(scope, send)
        elif streamed:
            await self._streamed(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client left before it had sent its request: nobody is there to answer
            body += message.get("body", b"")
            if len(body) > self._limit:
                await self._too_large(scope, send)
                return
            if not message.get("more_body", False):
                break
        await self.app(scope, _replay(bytes(body), receive), send)

    async def _too_large(self, scope: Scope, send: Send) -> None:
        await refuse(scope, send, 413, f"The request body is larger than {self._limit} bytes (MAX_BODY_BYTES)")


def _framing(scope: Scope) -> tuple[int, bool]:
    """The declared length (0 when there is none), and whether the body comes in chunks."""
    length, streamed = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            length = max(length, int(value))
        elif name == b"transfer-encoding":
            streamed = True
    return length, streamed


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed
