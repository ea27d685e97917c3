"""Writing server-sent events (WHATWG HTML §9.2) until either side ends the stream.

A stream is idle for hours, and whatever waits for it to end is held as long: the frames of every layer around its
endpoint, and what they wrapped `send` in, were half of its memory. So `send_events` sends what the layers still have a
say in, the headers and the first chunk, and leaves the rest to whoever stands outside of them and expects it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import Context, copy_context
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.errors import SessionGone, StateUnavailable

log = structlog.get_logger(__name__)

Headers = list[tuple[bytes, bytes]]

_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

_REST: Final = "rest"
"""Where in `scope["state"]` the rest of a stream is left."""


class Streaming:
    """Sends the rest of a stream once all that is inside has returned. What goes by here is only a body any more."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        expect_rest(state)
        await self.app(scope, receive, send)
        if (rest := rest_of(state)) is not None:
            await rest.send(send)


def expect_rest(state: dict[str, Any]) -> None:
    """Have the rest of a stream left in the state of its request; whoever calls this sends it."""
    state[_REST] = None


def rest_of(state: dict[str, Any]) -> Rest | None:
    """What was left of a stream, if the answer is one; only once."""
    rest: Rest | None = state.pop(_REST, None)
    return rest


async def send_events(
    chunks: AsyncGenerator[bytes], receive: Receive, send: Send, headers: Headers, scope: Scope | None = None
) -> None:
    """Send `chunks` as they come; leaves when they end, or when the client does.

    The headers go out with the first chunk, so whatever goes wrong before that can still be answered properly.

    Args:
        scope: of the request, where nothing is to be done after the stream but closing `chunks`: then this returns
            after the first chunk, and whoever expects the rest sends it.

    Raises:
        Whatever the first chunk raises. Later, the end of the session or of Redis just ends the stream.
    """
    try:
        first = await anext(chunks, b"")
        await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})
        await send({"type": "http.response.body", "body": first, "more_body": True})
    except BaseException:
        await chunks.aclose()
        raise
    rest = Rest(chunks, receive, copy_context())
    state = scope["state"] if scope is not None else {}
    if _REST in state:
        state[_REST] = rest
    else:
        await rest.send(send)


class Rest:
    """A stream after its first chunk, and the context of the request that it belongs to."""

    __slots__ = ("_chunks", "_context", "_ended", "_receive")

    def __init__(self, chunks: AsyncGenerator[bytes], receive: Receive, context: Context) -> None:
        self._chunks = chunks
        self._receive = receive
        self._context = context
        self._ended = False

    async def send(self, send: Send) -> None:
        """Send what comes, in a task, until it ends, or the client leaves."""
        waiting = asyncio.current_task()

        def stop(_pumping: asyncio.Task[None]) -> None:
            self._ended = True
            if waiting is not None:
                waiting.cancel()

        pumping = asyncio.get_running_loop().create_task(self._pump(send), context=self._context)
        pumping.add_done_callback(stop)
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._ended or (waiting is not None and waiting.uncancel()):
                raise
        finally:
            pumping.remove_done_callback(stop)
            pumping.cancel()
            await asyncio.wait((pumping,))
            await self._chunks.aclose()  # what was cancelled before it began has closed nothing
        if not pumping.cancelled():
            pumping.result()
        if self._ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._chunks):
            try:
                async for chunk in self._chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except SessionGone:
                log.debug("stream.ended", reason="its session ended")
            except StateUnavailable as error:
                log.warning("stream.ended", reason=str(error))
