"""Writing server-sent events (WHATWG HTML §9.2) until either side ends the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from starlette.types import Receive, Send

from switchboard.aio import background
from switchboard.errors import SessionGone, StateUnavailable

log = structlog.get_logger(__name__)

Headers = list[tuple[bytes, bytes]]

_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


async def send_events(chunks: AsyncGenerator[bytes], receive: Receive, send: Send, headers: Headers) -> None:
    """Send `chunks` as they come; leaves when they end, or when the client does.

    The headers go out with the first chunk, so whatever goes wrong before that can still be answered properly.

    Raises:
        Whatever the first chunk raises. Later, the end of the session or of Redis just ends the stream.
    """
    async with aclosing(chunks):
        first = await anext(chunks, b"")
        await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        writing = asyncio.current_task()
        left = _Departure(receive)
        async with background(left.watch(writing)):
            try:
                await _pump(chunks, send)
            except asyncio.CancelledError:
                if not left.noticed:
                    raise
                if writing is not None:
                    writing.uncancel()
        if not left.noticed:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pump(chunks: AsyncGenerator[bytes], send: Send) -> None:
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except SessionGone:
        log.debug("stream.ended", reason="its session ended")
    except StateUnavailable as error:
        log.warning("stream.ended", reason=str(error))


class _Departure:
    """Interrupts the writer when the client has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.noticed = False

    async def watch(self, writing: asyncio.Task[None] | None) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.noticed = True
        if writing is not None:
            writing.cancel()
