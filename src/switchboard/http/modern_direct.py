"""A modern request that is served in its own task, without the SDK's entry: plain JSON, unless it lasts or speaks.

A request that lasts gets an attendant, a task beside it that does what the entry does from the start: it ends the
request when the client leaves or the token is revoked, and begins a stream of comments before a proxy loses patience.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, Literal

from mcp.server.runner import modern_error_data
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from switchboard.aio import Overdue, background, is_being_cancelled
from switchboard.common import strict_json
from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.modern import PING, Answer, Ending, Held, unlisted
from switchboard.http.modern_context import ModernContext
from switchboard.http.responses import send_body
from switchboard.identity import current
from switchboard.protocol.direct_requests import Prepared, PreparedInContext, Unfinished
from switchboard.sessions.exchange import CANCELLED, error_response
from switchboard.sessions.patience import UNAVAILABLE

ATTENDED_AFTER_S: Final = 0.05
"""How long a request may last before anybody watches its client and its token."""

PING_S: Final = 15.0
"""How long a client hears nothing: as long as from the SDK's entry."""

_JSON: Final = b"application/json"
_AGAIN: Final = ((b"retry-after", str(RETRY_AFTER).encode()),)
"""With 503: what could not be served because Redis cannot be reached."""
_STREAM: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]
"""As the SDK's entry has them."""


class DirectRequests:
    """Serves such requests.

    Args:
        ending: in whose context the token of a request is looked at.
        held: lists what became a stream.
    """

    def __init__(self, ending: Ending, held: Held = unlisted) -> None:
        self._ending = ending
        self._held = held
        self._overdue = Overdue(ATTENDED_AFTER_S)

    async def serve(
        self,
        prepared: Prepared | PreparedInContext,
        message: dict[str, Any],
        http: Callable[[], Request],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve one. If its handler spoke before the response, that is the last event of a stream.

        Args:
            message: the request.
            http: makes the HTTP request that brought it, for handlers that may look at it.
        """
        request = _DirectRequest(self._ending, self._held, receive, send)
        attend = request.attend
        self._overdue.add(attend)
        try:
            response = await request.response(prepared, message, http)
        finally:
            self._overdue.discard(attend)
            if request.attendant is not None:
                await request.leave(request.attendant)
        try:
            await request.send(response, scope)
        finally:
            request.ended()


class _DirectRequest:
    """One request, from the task that serves it."""

    def __init__(self, ending: Ending, held: Held, receive: Receive, send: Send) -> None:
        self.attendant: asyncio.Task[None] | None = None
        self._held = held
        self._answer = Answer(send, self._opened)
        self.ended = self._answer.ended
        self._ending = ending
        self._receive = receive
        self._send = send
        self._serving = asyncio.current_task()
        self._context = copy_context()
        self._running = True
        self._ended_by: Literal["client", "revocation", "operator"] | None = None
        self._speaking = asyncio.Lock()
        self._spoken = self._now()
        """When its client was last told something, by the loop's clock."""

    async def response(
        self, prepared: Prepared | PreparedInContext, message: dict[str, Any], http: Callable[[], Request]
    ) -> dict[str, Any]:
        """Serve it; what it answers, if anybody still wants to hear it."""
        number = message["id"]
        try:
            if not isinstance(prepared, PreparedInContext):
                try:
                    return {"jsonrpc": "2.0", "id": number, "result": await prepared.run()}
                except Unfinished as unfinished:
                    prepared = unfinished.rest
            context = ModernContext(http(), message, self.say)
            result = await prepared.serve(context, context.connection(), {})
            return {"jsonrpc": "2.0", "id": number, "result": result}
        except asyncio.CancelledError:
            if self._ended_by is not None:
                return {}
            if is_being_cancelled():
                raise
            return error_response(number, CANCELLED)
        except Exception as error:  # the boundary of the handler, as in the SDK's entry
            data = modern_error_data(error).model_dump(mode="json", by_alias=True, exclude_none=True)
            return {"jsonrpc": "2.0", "id": number, "error": data}
        finally:
            self._running = False
            if self._ended_by is not None and self._serving is not None:
                self._serving.uncancel()

    async def say(self, event: bytes) -> None:
        """Send an event or a comment before the response; the first begins the stream."""
        async with self._speaking:
            if not self._running:
                return
            if not self._answer.begun:
                await self._answer({"type": "http.response.start", "status": 200, "headers": _STREAM})
            await self._answer({"type": "http.response.body", "body": event, "more_body": True})
            self._spoken = self._now()

    async def send(self, response: dict[str, Any], scope: Scope) -> None:
        """Send the response, in the form that was begun; or end that, if the token was revoked or the stream ended."""
        if self._ended_by in ("revocation", "operator"):
            await self._answer.end(scope)
        elif self._ended_by is None and self._answer.begun:
            await self._event(json.dumps(response, separators=(",", ":")).encode())  # as the SDK's entry writes events
        elif self._ended_by is None:
            status = ERROR_CODE_HTTP_STATUS.get(response["error"]["code"], 200) if "error" in response else 200
            body = strict_json.written(response)
            if status == 200 and scope.get(UNAVAILABLE):
                await send_body(self._send, 503, body, _JSON, _AGAIN)
            else:
                await send_body(self._send, status, body, _JSON)

    async def _event(self, data: bytes) -> None:
        body = b"event: message\r\ndata: " + data + b"\r\n\r\n"
        async with self._speaking:
            await self._answer({"type": "http.response.body", "body": body, "more_body": False})

    # -- when it lasts -------------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Begin to watch its client and its token."""
        # Awaited by `leave`, which is the request's own task; no group outlives a request here.
        self.attendant = asyncio.get_running_loop().create_task(self._attend(), context=self._context)

    async def leave(self, attendant: asyncio.Task[None]) -> None:
        """End the attendant."""
        attendant.cancel()
        await asyncio.wait([attendant])
        if not attendant.cancelled():
            attendant.result()

    def _opened(self) -> Callable[[], None]:
        return self._held(lambda: self._end("operator"))

    def _end(self, by: Literal["client", "revocation", "operator"]) -> None:
        if self._running and self._ended_by is None and self._serving is not None:
            self._ended_by = by
            self._serving.cancel()

    async def _attend(self) -> None:
        with self._ending(current().still_valid, lambda: self._end("revocation")):
            async with background(self._keep_open()):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
                self._end("client")

    async def _keep_open(self) -> None:
        while True:
            await asyncio.sleep(PING_S - self._silence())
            if self._silence() >= PING_S:
                await self.say(PING)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _silence(self) -> float:
        return self._now() - self._spoken
