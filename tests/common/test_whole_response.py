"""A response that is sent at once is, byte by byte, the one that uvicorn makes of two messages."""

from __future__ import annotations

import contextlib
import re

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from switchboard.common.http_bounds import WHOLE_RESPONSE, BoundedHttp
from tests.common.connections import connected, running
from tools.fleet.children import LOOPBACK, free_port

BODY = b'{"jsonrpc":"2.0"}'


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """At `/at-once` by the extension, elsewhere by messages."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY)), (b"x-a", b"1")]
    if scope["path"] == "/at-once":
        whole = scope["extensions"][WHOLE_RESPONSE]
        if scope["query_string"] == b"last":
            whole.close()
        await whole(401, b"".join(b"%b: %b\r\n" % header for header in headers), BODY)
        return
    if scope["query_string"] == b"last":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def said(port: int, path: str, request: bytes) -> tuple[bytes, bool]:
    """What is answered, without the date, and whether the connection ends by itself."""
    async with connected(port) as (reader, writer):
        writer.write(request.replace(b"PATH", path.encode()))
        ended, heads, answered = True, request.count(b"HTTP/1."), b""
        bodies = request.count(b"PATH") if b"HEAD" not in request else 0
        while answered.count(b"\r\n\r\n") < heads or answered.count(BODY) < bodies:
            answered += await reader.read(65536)
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        with contextlib.suppress(ConnectionResetError):
            ended = not await reader.read(1)
    return re.sub(rb"date: [^\r]*\r\n", b"", answered), ended


@pytest.mark.parametrize(
    "request_",
    [
        b"GET PATH HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD PATH HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET PATH HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET PATH HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET PATH?last HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET PATH HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"POST PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["get", "head", "close", "1.0", "last", "pipelined", "post"],
)
async def test_a_response_that_is_sent_at_once_is_that_of_two_messages(request_: bytes) -> None:
    port = free_port()
    config = uvicorn.Config(answer, host=LOOPBACK, port=port, http=BoundedHttp, lifespan="off", log_config=None)
    async with running(config):
        assert await said(port, "/at-once", request_) == await said(port, "/in-two", request_)
