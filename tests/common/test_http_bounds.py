"""What a connection may take before its request is complete, on sockets."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from switchboard.common.http_bounds import (
    BODY_RATE,
    BODY_S,
    HEAD_S,
    LARGEST_HEAD,
    LINGER_S,
    LONGEST_PIPELINE,
)
from tests.common.connections import (
    GET,
    HEAD,
    Clock,
    Patient,
    Quick,
    Transport,
    answered,
    begun,
    bring,
    connected,
    served,
    trickle,
)


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
