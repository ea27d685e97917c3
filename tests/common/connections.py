"""Connections whose bytes and time a test gives out: on sockets, and to the protocol itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from switchboard.common.http_bounds import (
    BoundedHttp,
)
from tools.fleet.children import LOOPBACK, free_port

PATIENCE = 300
HEAD = b"POST /read HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Quick(BoundedHttp):
    """Waits for no part longer than a moment."""

    silent_s, head_s, body_s = 0.3, 0.3, 0.3


class Patient(BoundedHttp):
    """Waits for a head and a body for ever, as far as a test is concerned."""

    silent_s, head_s, body_s = 600, 600, 600


class Unfinished:
    """An application that reads the body at `/read`, and answers at once elsewhere; knows what came of each request."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await self.go_on.wait()
        if scope["path"] == "/read":
            message = await receive()
            while message.get("more_body"):
                message = await receive()
            self.seen.put_nowait(message["type"])
        names = sorted(name.decode() for name, _ in scope["headers"])
        await PlainTextResponse(",".join(names))(scope, receive, send)


class Timer:
    """What a `Clock` gives for a call that is to come."""

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self._when = when
        self.call = call
        self.cancelled = False

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The part of an event loop that the protocol asks for, with a time that a test moves; nothing is ever served."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        self._timers.append(Timer(when, call))
        return self._timers[-1]

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self.call_at(self._now + seconds, call)

    def create_task(self, task: Coroutine[Any, Any, None]) -> Future[None]:
        task.close()
        return Future()

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while due := [each for each in self._timers if not each.cancelled and each.when() <= end]:
            first = min(due, key=Timer.when)
            self._timers.remove(first)
            self._now = max(self._now, first.when())
            first.call()
        self._now = end


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        """The application has enough; here it takes it at once."""

    def resume_reading(self) -> None:
        """It wants more."""


def begun(clock: Clock, transport: Transport) -> BoundedHttp:
    """A connection that was just made."""
    config = uvicorn.Config(Unfinished(), lifespan="off", log_config=None)
    protocol = BoundedHttp(config, ServerState(), {}, _loop=clock)  # type: ignore[arg-type]
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol


def bring(protocol: BoundedHttp, part: bytes) -> None:
    """Bytes come, and the application takes them at once."""
    protocol.data_received(part)
    protocol.cycle.body.clear()
    protocol.flow.resume_reading()


@asynccontextmanager
async def served(protocol: type[BoundedHttp]) -> AsyncIterator[tuple[int, Unfinished]]:
    app = Unfinished()
    port = free_port()
    config = uvicorn.Config(
        app, host=LOOPBACK, port=port, http=protocol, lifespan="off", log_config=None, timeout_keep_alive=600
    )
    async with running(config):
        try:
            yield port, app
        finally:
            app.go_on.set()


@asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncIterator[None]:
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        yield reader, writer
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answered(port: int, part: bytes) -> bytes:
    """All that comes until the server closes."""
    async with connected(port) as (reader, writer):
        writer.write(part)
        return await reader.read()


async def trickle(writer: asyncio.StreamWriter, part: bytes, until: asyncio.Future[Any]) -> None:
    """Send a part again and again, until something has come."""
    while not until.done():
        with contextlib.suppress(ConnectionError):
            writer.write(part)
            await writer.drain()
        await asyncio.wait({until}, timeout=0.05)
