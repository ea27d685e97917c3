"""What a connection may take before its request is complete: time and memory, whoever sent it.

uvicorn has a limit for neither. A request is complete when its last byte has come; until then nobody is known to have
sent it, so nothing is owed to it. A leaf: workers and the authorization server serve HTTP by it.

| what is waited for | how long | then |
|---|---|---|
| the first byte on a new connection | `SILENT_S` | closed |
| the end of a head (request line and headers) | `HEAD_S` from its first byte | 408, closed |
| a body | never more than `BODY_S` ahead; each `BODY_RATE` bytes give one second more | 408, closed |
| the rest of a body whose request was answered already | `BODY_S` | closed |

Of a head at most `LARGEST_HEAD` bytes are kept (431), the trailers of a body are dropped, and `LONGEST_PIPELINE`
requests may wait for the answer to the one before. Of a body 64 KiB are read ahead of the application, which checks
tokens first.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

SILENT_S: Final = 75.0
"""As long as an unused connection is kept: some balancers open connections before they need them."""
HEAD_S: Final = 20.0
BODY_S: Final = 20.0
BODY_RATE: Final = 4096
LARGEST_HEAD: Final = 64 * 1024
LONGEST_PIPELINE: Final = 16
LINGER_S: Final = 5.0
"""How long a client may take to read the refusal."""

log = structlog.get_logger(__name__)


WHOLE_RESPONSE: Final = "switchboard.whole_response"
"""Its name, under which a request has its `WholeResponse`."""


class WholeResponse:
    """Sends one whole response of a request: what uvicorn does for its two messages, which look at each header twice.

    Args:
        cycle: uvicorn's, of that request.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self, status: int, head: bytes, body: bytes) -> None:
        """Send it.

        Args:
            head: the lines of all headers, Content-Length among them, without the empty one; right as they are.
        """
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("a response has begun already")
        cycle.response_started, cycle.waiting_for_100_continue = True, False
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in cycle.default_headers), head]
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            lines.append(body)
        cycle.transport.write(b"".join(lines))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def close(self) -> None:
        """Let no further request follow on the connection."""
        self._cycle.keep_alive = False


class BoundedHttp(HttpToolsProtocol):
    """One connection. It has one timer at most, which is set again only when it fires or would fire too late."""

    __slots__ = ("_due", "_gathered", "_in_body", "_most", "_refusal", "_timer")  # a dictionary would double it
    silent_s, head_s, body_s = SILENT_S, HEAD_S, BODY_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first byte."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._in_body = False
        self._gathered = 0
        """Bytes since the last that was body, or the end of a request."""
        self._most = 0
        """The same as when the last bytes came: no head among them is larger."""
        self._refusal = (400, "Invalid HTTP request received.")
        self._wait(self.silent_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unset_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is gathered without being a request or a body has an end."""
        idle = self.timeout_keep_alive_task is not None
        self._gathered += len(data)
        self._most = self._gathered
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self._gathered > LARGEST_HEAD:
            self._refuse_head()
            self.send_400_response("")
        elif idle and self._due is None and self.cycle.response_complete:
            self._wait(self.silent_s)  # empty lines: no request began, but uvicorn has stopped its own timer

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_body = False
        self._wait(self.head_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the body it is a trailer, which nothing here reads."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._most > LARGEST_HEAD and self._head() > LARGEST_HEAD:
            self._refuse_head()
            raise ValueError("the head is too large")
        if len(self.pipeline) >= LONGEST_PIPELINE:
            self._refusal = (400, f"More than {LONGEST_PIPELINE} requests were sent ahead of their answers.")
            raise ValueError("too many requests at once")
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            extensions: Any = self.scope.setdefault("extensions", {})
            extensions[WHOLE_RESPONSE] = WholeResponse(self.cycle)
        self._in_body = True
        self._wait(self.body_s)

    def on_body(self, body: bytes) -> None:
        """A part of the body: whoever sends may go on."""
        self._gathered = 0
        super().on_body(body)
        if self._due is not None and not self.cycle.response_complete:
            self._due = min(self._due + len(body) / BODY_RATE, self.loop.time() + self.body_s)

    def on_message_complete(self) -> None:
        """The request is there: from now on it is the application's."""
        self._gathered = 0
        self._due = None
        self._in_body = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection is a WebSocket's: its pings say whether anybody is there."""
        self._due = None
        self._unset_timer()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or is too much, and close."""
        status, text = self._refusal
        self._close_with(status, text)

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        self._refusal = (431, f"The request line and headers are larger than {LARGEST_HEAD} bytes.")

    def _wait(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._unset_timer()
            self._timer = self.loop.call_at(self._due, self._look)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Whether what is waited for is overdue."""
        self._timer = None
        if self._due is None or self.transport.is_closing():
            return
        now = self.loop.time()
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.flow.read_paused or (answering and not self._in_body):
            self._wait(self.body_s)  # it is our turn, not the client's
        elif now < self._due:
            self._timer = self.loop.call_at(self._due, self._look)
        else:
            self._expire(answering)

    def _expire(self, answering: bool) -> None:
        begun = self._in_body or bool(self._gathered)
        if begun:
            what = "body" if self._in_body else "head"
            log.info("request.timed_out", missing=what, client=self.client[0] if self.client else None)
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun and (self.cycle is None or not self.cycle.response_started or not self._in_body):
            self._close_with(408, "The request was not complete in time.")
        else:
            self.transport.close()

    def _close_with(self, status: int, text: str) -> None:
        """Answer in plain text and close; whoever does not read the answer is cut off."""
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(text)
        self.transport.write(STATUS_LINE[status] + head + text.encode("ascii"))
        self.transport.close()
        self._unset_timer()
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
