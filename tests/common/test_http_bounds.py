"""What a connection may take before its request is complete, on sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from switchboard.cli.serving import uvicorn_config
from switchboard.common.http_bounds import (
    BODY_RATE,
    BODY_S,
    HEAD_S,
    LARGEST_HEAD,
    LINGER_S,
    LONGEST_PIPELINE,
    BoundedHttp,
)
from switchboard.settings import Settings
from tools.fleet.children import LOOPBACK, answers, free_port, start
from tools.fleet.workers import COMMAND

PATIENCE = 20
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


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        (b"", b""),
        (b"\r\n", b"HTTP/1.1 408 "),
        (b"POST /read HT", b"HTTP/1.1 408 "),
        (HEAD + b"X-Half: ", b"HTTP/1.1 408 "),
        (HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 10\r\n\r\nhalf", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", b"HTTP/1.1 408 "),
        (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\nhalf"), b"HTTP/1.1 200 "),
        (GET + b"GET /none HT", b"HTTP/1.1 200 "),
    ],
)
async def test_whatever_is_begun_and_not_ended_is_closed(part: bytes, answer: bytes) -> None:
    async with served(Quick) as (port, _):
        assert (await answered(port, part)).startswith(answer)


async def test_a_head_that_trickles_is_closed_though_something_comes_all_the_time() -> None:
    async with served(Quick) as (port, _), connected(port) as (reader, writer):
        writer.write(HEAD)
        closed = asyncio.ensure_future(reader.read(12))
        await trickle(writer, b"X-Slow: 1\r\n", closed)
        with contextlib.suppress(ConnectionError):  # what was under way when it closed may reset it
            assert await closed == b"HTTP/1.1 408"


async def test_a_body_that_trickles_is_closed_and_its_application_is_told() -> None:
    async with served(Quick) as (port, app), connected(port) as (_, writer):
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
        told = asyncio.ensure_future(app.seen.get())
        await trickle(writer, b"x", told)
        assert await told == "http.disconnect"


async def test_empty_lines_do_not_keep_an_idle_connection() -> None:
    async with served(Quick) as (port, _), connected(port) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\nhost")
        closed = asyncio.ensure_future(reader.read(12))
        await trickle(writer, b"\r\n", closed)
        with contextlib.suppress(ConnectionError):
            assert await closed == b"HTTP/1.1 408"


async def test_a_request_that_is_complete_may_take_as_long_as_it_takes() -> None:
    async with served(Quick) as (port, app), connected(port) as (reader, writer):
        writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert await answered(port, b"POST /read HT")  # as long as an unfinished one may take
        assert await answered(port, b"POST /read HT")
        app.go_on.set()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


def test_a_body_may_take_long_as_long_as_it_comes() -> None:
    clock, transport = Clock(), Transport()
    protocol = begun(clock, transport)
    protocol.data_received(HEAD + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(20):
        clock.advance(BODY_S / 2)
        bring(protocol, b"x" * int(BODY_RATE * BODY_S / 2))
    assert not transport.closed
    clock.advance(BODY_S)
    assert transport.closed


def test_a_body_that_comes_too_slowly_is_cut_off_though_it_comes() -> None:
    clock, transport = Clock(), Transport()
    protocol = begun(clock, transport)
    bring(protocol, HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    spent = 0
    while not transport.closed:
        clock.advance(1)
        spent += 1
        bring(protocol, b"x" * (BODY_RATE // 2))
    assert BODY_S < spent < 2 * BODY_S
    assert transport.written.startswith(b"HTTP/1.1 408 ")


def test_each_request_of_a_kept_connection_has_its_own_time() -> None:
    clock, transport = Clock(), Transport()
    protocol = begun(clock, transport)
    for _ in range(5):
        protocol.data_received(GET[:10])
        clock.advance(HEAD_S - 1)
        protocol.data_received(GET[10:])
        protocol.cycle.response_complete = True
    assert not transport.closed
    protocol.data_received(GET[:10])
    clock.advance(HEAD_S)
    assert transport.closed


def test_whoever_does_not_read_its_refusal_is_cut_off() -> None:
    clock, transport = Clock(), Transport()
    begun(clock, transport).data_received(GET[:10])
    clock.advance(HEAD_S)
    assert not transport.aborted
    clock.advance(LINGER_S)
    assert transport.aborted


@pytest.mark.parametrize(
    "parts",
    [
        (b"GET /" + b"x" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        (HEAD + b"X-Large: " + b"x" * LARGEST_HEAD + b"\r\n\r\n",),
        (HEAD + b"X-Unending: ", *(b"x" * 8192 for _ in range(60))),
        (HEAD, *(b"X-Many: 1\r\n" * 1000 for _ in range(60))),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", *(b"x" * 8192 for _ in range(60))),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", *(b"x" * 8192 for _ in range(60))),
    ],
    ids=["url", "header", "unending header", "many headers", "chunk extension", "trailer"],
)
async def test_no_more_is_kept_of_a_head_than_the_limit(parts: tuple[bytes, ...]) -> None:
    async with served(Patient) as (port, _), connected(port) as (reader, writer):
        with contextlib.suppress(ConnectionError):  # it may close while we still send
            for part in parts:
                writer.write(part)
                await writer.drain()
            assert await reader.read(12) == b"HTTP/1.1 431"


async def test_a_head_of_ordinary_size_passes_whole() -> None:
    async with served(Patient) as (port, _):
        large = GET.replace(
            b"\r\n\r\n", b"\r\nConnection: close\r\nAuthorization: Bearer " + b"x" * 32_000 + b"\r\n\r\n"
        )
        assert (await answered(port, large)).endswith(b"authorization,connection,host")


async def test_a_trailer_never_counts_as_a_header() -> None:
    async with served(Patient) as (port, _):
        chunked = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        said = await answered(port, chunked + b"Authorization: Bearer sesame\r\n\r\n")
        assert said.endswith(b"connection,host,transfer-encoding")


async def test_only_so_many_requests_may_be_sent_ahead_of_their_answers() -> None:
    async with served(Patient) as (port, _):
        assert b"400 Bad Request" in await answered(port, GET * (LONGEST_PIPELINE * 100))


async def test_a_few_requests_sent_ahead_are_answered_in_turn() -> None:
    async with served(Patient) as (port, _):
        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await answered(port, GET * 10 + last)).count(b"HTTP/1.1 200 ") == 11


# -- the processes -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["worker", "authorization server"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a process that strangers can reach."""
    port = free_port()
    what = "serve" if request.param == "worker" else "auth-server"
    ports = {"PORT": str(port), "AUTH_SERVER_PORT": str(port), "SECRET_KEY": "k" * 43}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = start("process", [COMMAND, what], tmp_path, kept | ports)
    child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
    yield port
    child.stop()


def left_open(port: int, part: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=HEAD_S + BODY_S + PATIENCE)
    connection.sendall(part)
    return connection


def test_a_process_closes_what_strangers_leave_unfinished_and_goes_on(process: int) -> None:
    parts = (
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 100_000,
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 4000\r\n\r\ngrant_type=",
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    )
    unfinished = [left_open(process, part) for part in parts for _ in range(5)]
    for connection in unfinished:
        with connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass
    assert answers(process, "/.well-known/oauth-authorization-server")


async def test_a_request_that_is_sent_ahead_finds_nothing_of_the_context_of_the_one_before() -> None:
    kept: ContextVar[str] = ContextVar("kept", default="nothing")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for said in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{said}.complete"})
            return
        found = kept.get()
        kept.set("something")
        await PlainTextResponse(f"found {found}")(scope, receive, send)

    settings = Settings(_env_file=None, host=LOOPBACK, port=free_port())
    last = GET.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
    async with running(uvicorn_config(app, settings)):
        assert (await answered(settings.port, GET + last)).count(b"found nothing") == 2


def test_a_worker_serves_within_these_bounds() -> None:
    assert uvicorn_config("app", Settings(_env_file=None)).http is BoundedHttp
