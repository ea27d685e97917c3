"""One connection of HTTP/1.1 to a server: a request at a time, and its answer, read as it comes.

What goes wrong is raised as httpx2's errors, so that whoever calls need not know which client sent the request.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httptools
import httpx2

HEAD_BYTES: Final = 100 * 1024
"""Of a head, of trailers, or of whatever else comes between two parts of a body."""

WAITING_BYTES: Final = 256 * 1024
"""Of a body that nobody has taken yet: while there is more, the connection is not read."""

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; `None` is without end."""

    connect: float | None = 10.0
    read: float | None = 300.0
    """Without a byte, while one is waited for."""

    write: float | None = 10.0
    """Until the server has taken the request."""


class HttpConnection(asyncio.Protocol):
    """A connection.

    Args:
        on_idle: is told when an answer is complete and the connection can carry another request.
        on_closed: is told when it is closed.
    """

    def __init__(self, on_idle: Callable[[HttpConnection], None], on_closed: Callable[[HttpConnection], None]) -> None:
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._transport: Any = None
        self._readable = select.poll()
        self._between = 0
        """Bytes since the last part of a body."""
        self._full = False
        """Whether more of the request waits to be sent than the socket takes."""
        self.closed = False
        self.idle_since = 0.0

    # -- its users ----------------------------------------------------------------------------------------------------

    def usable(self) -> bool:
        """Whether an idle connection can carry a request: the server has neither closed it nor said anything on it."""
        return not self.closed and not self._readable.poll(0)

    async def send(self, request: bytes, timeouts: Timeouts, waiting: set[Answer]) -> Answer:
        """Send a request and wait for the head of its answer.

        Args:
            waiting: has the answer once it is waited for, unless there is none.

        Raises:
            httpx2.TransportError: there is none; the server may have seen the request.
        """
        answer = self._answer = Answer(self, timeouts.read)
        self._between = 0
        self._transport.write(request)
        write = self._loop.call_later(timeouts.write, self._not_taken) if self._full and timeouts.write else None
        waiting.add(answer)
        try:
            await answer.headed()
        except BaseException:
            waiting.discard(answer)
            self.close()
            raise
        finally:
            if write is not None:
                write.cancel()
        return answer

    def close(self) -> None:
        """Close it at once, whatever is under way."""
        self.closed = True
        answer, self._answer = self._answer, None
        if answer is not None:  # that we end the connection does not end its body
            answer.failed(httpx2.ReadError("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()

    def taken(self) -> None:
        """What had come of the body was taken: read on."""
        if not self.closed and not self._transport.is_reading():
            self._transport.resume_reading()

    def _not_taken(self) -> None:
        if self._full:
            self._fail(httpx2.WriteTimeout("the server did not take the request"))

    # -- asyncio's ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = transport
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse; nothing that comes while nothing was asked for is taken."""
        if self._answer is None:
            self.close()
            return
        self._between += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(f"its answer is not valid HTTP: {error}"))
            return
        if self._between > HEAD_BYTES:
            self._fail(httpx2.RemoteProtocolError(f"its head has more than {HEAD_BYTES} bytes"))
        elif self._answer is not None and self._answer.waiting_bytes > WAITING_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The server sends no more: close."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed; an answer without a stated length ends with it."""
        self.closed = True
        self._on_closed(self)
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if error is not None:
            answer.failed(httpx2.ReadError(str(error)))
        elif not answer.status:
            answer.failed(httpx2.RemoteProtocolError("Server disconnected without sending a response."))
        elif answer.until_closed:
            answer.complete()
        else:
            answer.failed(httpx2.RemoteProtocolError("the server closed the connection before the end of its answer"))

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False

    # -- the parser's -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins; where nothing was asked it is not one."""
        if self._answer is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head, or a trailer: those are left out."""
        if self._answer is not None and not self._answer.status:
            self._answer.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there, unless it only says that one will come (RFC 9110 §15.2)."""
        status, answer = self._parser.get_status_code(), self._answer
        if answer is None:
            return
        if status < 200:
            answer.headers.clear()
        else:
            self._between = 0
            answer.begun(status)

    def on_body(self, data: bytes) -> None:
        """A part of the body; what says only that an answer will come has none (RFC 9110 §15.2)."""
        if self._answer is not None and self._answer.status:
            self._between = 0
            self._answer.received(data)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        answer = self._answer
        if answer is None or not answer.status:
            return
        self._between = 0
        self._answer = None
        answer.complete()
        if self._parser.should_keep_alive() and not self._transport.get_write_buffer_size():
            self.taken()
            self._on_idle(self)
        else:
            self.close()

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None:
            answer.failed(error)


class Answer:
    """What a server answers: its head, and a body that is read in parts or as a whole."""

    def __init__(self, connection: HttpConnection, read_timeout: float | None) -> None:
        self.status = 0
        self.headers: Headers = []
        self.waiting_bytes = 0
        self._connection = connection
        self._read_timeout = read_timeout
        self._loop = asyncio.get_running_loop()
        self._parts: deque[bytes] = deque()
        self._over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._dropped = False
        """Whether the rest of the body is."""
        self._closing: asyncio.TimerHandle | None = None

    @property
    def until_closed(self) -> bool:
        """Whether the end of the connection ends the body (RFC 9112 §6.3)."""
        return not any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def header(self, name: bytes) -> bytes:
        """The first value of a header; empty if there is none."""
        for each, value in self.headers:
            if each == name:
                return value
        return b""

    async def headed(self) -> None:
        """Wait for the head."""
        while not self.status:
            await self._more()

    async def part(self) -> bytes:
        """The next part of the body; empty at its end.

        Raises:
            httpx2.TransportError: there will be no more of it.
        """
        while not self._parts:
            if self._over and self._error is None:
                return b""
            await self._more()
        self.waiting_bytes = 0
        data = self._parts.popleft() if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._connection.taken()
        return data

    async def whole(self, most: int) -> bytes | bytearray:
        """The body. After an error its parts can be read as if nothing had been.

        Raises:
            httpx2.TransportError: it does not end.
            httpx2.StreamError: it has more than so many bytes.
        """
        body: bytes | bytearray = await self.part()
        try:
            while len(body) <= most and (data := await self.part()):
                body = body if isinstance(body, bytearray) else bytearray(body)
                body += data
        except httpx2.TransportError:
            self.put_back(body)
            raise
        if len(body) > most:
            self.put_back(body)
            raise httpx2.StreamError(f"it sent a message of more than {most} bytes")
        return body

    def put_back(self, data: bytes | bytearray) -> None:
        """Have what was taken of the body be its next part."""
        if data:
            self._parts.appendleft(bytes(data))

    def close(self) -> None:
        """Read no more of it; an answer that was not complete costs the connection."""
        if not self._over:
            self._connection.close()

    def close_unless_over_within(self, seconds: float) -> None:
        """Nobody needs the rest. For so long what comes is dropped: with the end the connection can be used again."""
        if not self._over:
            self._dropped = True
            self._parts.clear()
            self._connection.taken()
            self._closing = self._loop.call_later(seconds, self.close)

    async def _more(self) -> None:
        """Wait until something comes."""
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        timer = None if self._read_timeout is None else self._loop.call_later(self._read_timeout, self._late)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None
        if self._error is not None and not self._parts:
            raise self._error

    def _late(self) -> None:
        self.failed(httpx2.ReadTimeout(f"nothing came within {self._read_timeout:g} s"))
        self._connection.close()

    # -- its connection's ---------------------------------------------------------------------------------------------

    def begun(self, status: int) -> None:
        """The head is there."""
        self.status = status
        self._wake()

    def received(self, data: bytes) -> None:
        """A part of the body came."""
        if self._dropped:
            return
        self._parts.append(data)
        self.waiting_bytes += len(data)
        self._wake()

    def complete(self) -> None:
        """The body is complete."""
        self._over = True
        if self._closing is not None:
            self._closing.cancel()
        self._wake()

    def failed(self, error: Exception) -> None:
        """There will be no more of it."""
        if not self._over:
            self._over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
