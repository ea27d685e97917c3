"""Connections of HTTP/1.1 that stay open: what is read on them, when they are used again, and what is put up with."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from switchboard.backends.transports.http_client import Answer, HttpClient, Target, Timeouts, header_lines
from switchboard.backends.transports.http_client.connection import HEAD_BYTES, WAITING_BYTES

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def served(*answers: bytes, end: bool = False) -> AsyncIterator[tuple[HttpClient, Target, list[bytes]]]:
    """A client, and a server that gives one answer after another and notes the requests.

    Args:
        end: whether it closes each connection after its answer.
    """
    seen: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                seen.append(head + await reader.readexactly(length))
                writer.write(left.pop(0) if left else OK)
                if end:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with opened(serve) as (client, target):
        yield client, target, seen


@asynccontextmanager
async def opened(serve: Serve) -> AsyncIterator[tuple[HttpClient, Target]]:
    served = list[tuple[asyncio.Task[None], asyncio.StreamWriter]]()

    async def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.append((task, writer))
        with suppress(asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(serving, "127.0.0.1", 0)
    client = HttpClient()
    try:
        yield client, Target.of(httpx2.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp?x=1"))
    finally:
        client.close()
        server.close()
        for task, writer in served:
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*(task for task, _ in served))
        await asyncio.sleep(0)


async def posted(client: HttpClient, target: Target, body: bytes = b"{}", timeouts: Timeouts | None = None) -> Answer:
    lines = header_lines([(b"host", target.authority)])
    return await client.send(target, b"POST", lines, body, timeouts or Timeouts())


async def test_a_hundred_requests_of_one_client_take_one_connection() -> None:
    async with served() as (client, target, seen):
        for number in range(100):
            answer = await posted(client, target, b"%d" % number)
            assert await answer.whole(10) == b"ok"
        assert client.opened == 1
    assert seen[7] == b"POST /mcp?x=1 HTTP/1.1\r\nhost: %b\r\ncontent-length: 1\r\n\r\n7" % target.authority


async def test_requests_at_once_take_a_connection_each_and_use_them_again() -> None:
    async with served() as (client, target, seen):
        for _ in range(3):
            answers = await asyncio.gather(*(posted(client, target) for _ in range(5)))
            assert [await answer.whole(10) for answer in answers] == [b"ok"] * 5
        assert client.opened == 5
        assert len(seen) == 15


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: t\r\n\r\n",
            b"abc",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 110 Odd\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_a_body_is_read_whichever_way_its_end_is_told_and_the_connection_is_used_again(
    answer: bytes, body: bytes
) -> None:
    async with served(answer) as (client, target, _):
        first = await posted(client, target)
        assert await first.whole(10) == body
        assert (first.header(b"link"), first.header(b"trailer")) == (b"", b"")
        assert await (await posted(client, target)).whole(10) == b"ok"
        assert client.opened == 1


async def test_the_end_of_the_connection_ends_a_body_without_a_length() -> None:
    async with served(b"HTTP/1.1 200 OK\r\n\r\nabc", end=True) as (client, target, _):
        assert await (await posted(client, target)).whole(10) == b"abc"


async def test_a_body_without_a_length_is_not_complete_when_its_client_closes() -> None:
    async with served(b"HTTP/1.1 200 OK\r\n\r\nabc") as (client, target, _):
        answer = await posted(client, target)
        assert await answer.part() == b"abc"
        client.close()
        with pytest.raises(httpx2.ReadError, match="was closed"):
            await answer.part()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "Server disconnected without sending a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "before the end of its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "before the end of its answer"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not valid HTTP"),
        (b"hello there\r\n\r\n", "not valid HTTP"),
    ],
)
async def test_an_answer_that_is_none_or_is_cut_is_an_error_and_the_request_is_sent_once(
    answer: bytes, error: str
) -> None:
    async with served(answer, end=True) as (client, target, seen):
        with pytest.raises(httpx2.TransportError, match=error):
            await (await posted(client, target)).whole(10)
        assert len(seen) == 1


async def test_a_connection_that_its_server_closed_while_idle_carries_no_further_request() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    closed, seen = threading.Event(), list[bytes]()

    def serve() -> None:
        for _ in range(2):
            connection, _address = listener.accept()
            seen.append(connection.recv(65536))
            connection.sendall(OK)
            connection.shutdown(socket.SHUT_WR)
            closed.set()
            connection.recv(1)
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = HttpClient()
    target = Target.of(httpx2.URL(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"))
    assert await (await posted(client, target, b"1")).whole(10) == b"ok"
    assert closed.wait(10)  # without the event loop: it has not heard of the end when the next request comes
    assert await (await posted(client, target, b"2")).whole(10) == b"ok"
    assert client.opened == 2
    assert [request[-1:] for request in seen] == [b"1", b"2"]
    client.close()
    await asyncio.to_thread(thread.join, 10)
    listener.close()


async def test_a_request_that_a_reused_connection_has_taken_is_not_sent_again() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(2):
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.readexactly(2))
            if number == 0:
                writer.write(OK)
        writer.close()

    async with opened(serve) as (client, target):
        await (await posted(client, target)).whole(10)
        with pytest.raises(httpx2.RemoteProtocolError, match="Server disconnected"):
            await posted(client, target)
        assert (client.opened, len(seen)) == (1, 2)


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        (b"", b"HTTP/1.1 102 Wait\r\n\r\n" * 50),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"t: " + b"y" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"y" * 1000),
    ],
)
async def test_a_head_that_does_not_end_is_given_up(beginning: bytes, again: bytes) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(beginning)
        try:
            while sent < 100 * HEAD_BYTES:
                writer.write(again)
                sent += len(again)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with opened(serve) as (client, target), asyncio.timeout(120):
        with pytest.raises(httpx2.TransportError, match="its head has more than"):
            await (await posted(client, target)).whole(10_000_000)
    assert sent < 100 * HEAD_BYTES


async def test_a_body_is_read_no_further_than_it_may_be_long() -> None:
    async with served(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000) as (client, target, _):
        with pytest.raises(httpx2.StreamError, match="more than 2999 bytes"):
            await (await posted(client, target)).whole(2999)


async def test_a_body_that_nobody_takes_is_not_read_into_memory() -> None:
    total = 50 * WAITING_BYTES

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(50):
            writer.write(b"x" * WAITING_BYTES)
            await writer.drain()

    async with opened(serve) as (client, target), asyncio.timeout(120):
        answer = await posted(client, target)
        while answer.waiting_bytes <= WAITING_BYTES:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert answer.waiting_bytes < 3 * WAITING_BYTES
        assert len(await answer.whole(total)) == total


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with opened(serve) as (client, target), asyncio.timeout(120):
        with pytest.raises(httpx2.ReadTimeout, match="nothing came within"):
            await posted(client, target, timeouts=Timeouts(read=0.05))


async def test_a_server_that_does_not_take_the_request_is_given_up_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(20)

    async with opened(serve) as (client, target), asyncio.timeout(15):
        with pytest.raises(httpx2.WriteTimeout):
            await posted(client, target, b"x" * 50_000_000, Timeouts(write=0.05))


async def test_what_comes_unasked_ends_the_connection() -> None:
    async with served(OK + OK) as (client, target, seen):
        for _ in range(2):
            assert await (await posted(client, target)).whole(10) == b"ok"
        assert (client.opened, len(seen)) == (2, 2)


@pytest.mark.parametrize("header", [(b"x", b"1\r\ny: 2"), (b"x", b"1\n"), (b"x\r", b"1"), (b"x", b"1\0")])
async def test_a_header_that_would_begin_another_is_not_sent(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx2.LocalProtocolError):
        header_lines([(b"a", b"b"), header])


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers() -> None:
    async with served() as (client, target, _):  # `localhost` is ::1 as well, where nobody listens
        named = Target.of(httpx2.URL(f"http://localhost:{target.port}/mcp"))
        assert await (await posted(client, named)).whole(10) == b"ok"


async def test_where_nobody_listens_nothing_was_sent(unused_tcp_port: int) -> None:
    client = HttpClient()
    with pytest.raises(httpx2.ConnectError, match="All connection attempts failed"):
        await posted(client, Target.of(httpx2.URL(f"http://127.0.0.1:{unused_tcp_port}/mcp")))
    assert client.opened == 0


async def test_the_rest_of_an_answer_that_nobody_needs_does_not_cost_the_connection() -> None:
    async with served(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000) as (client, target, _):
        answer = await posted(client, target)
        answer.close_unless_over_within(10)
        while not client.idle:
            await asyncio.sleep(0.001)
        assert await (await posted(client, target)).whole(10) == b"ok"
        assert client.opened == 1
