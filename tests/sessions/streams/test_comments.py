"""Comments on streams: a sign of life, and no event. An empty line after one would end an event that is none."""

from __future__ import annotations

import inspect

import pytest
from mcp.server import _streamable_http_modern as sdk
from starlette.types import Message, Receive, Scope, Send

from switchboard.http.modern import PING, serve
from switchboard.sessions.streams import frames
from switchboard.sessions.streams.revocation import Revocation
from tests.sessions.conftest import Start


@pytest.mark.parametrize("protocol", ["2025-06-18", "2025-11-25"])
async def test_nothing_but_events_ends_with_an_empty_line(
    start: Start, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr("switchboard.sessions.streams.stored_stream.KEEPALIVE_S", 0.05)
    workers = await start(1, memory=True)
    session = await workers.open(protocol)
    async with workers.http.stream("GET", workers.a.url, headers=session.headers) as stream:
        read = b""
        async for chunk in stream.aiter_raw():
            read += chunk
            if read.count(b": keepalive") == 3:
                break
    first, *rest = read.replace(b"\r\n", b"\n").split(b"\n\n")
    assert rest == ([b": keepalive\n" * 3] if protocol == "2025-11-25" else [])
    assert first.startswith(b"id: " if protocol == "2025-11-25" else b": open\n: keepalive\n")


async def test_the_comments_of_the_sdk_end_no_event_either() -> None:
    assert repr(PING) in inspect.getsource(sdk).replace('b": ping', "b': ping").replace('\\n"', "\\n'")
    sent: list[Message] = []

    async def entry(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PING, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: {}\r\n\r\n", "more_body": False})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    await serve(entry, Revocation().ending, {"type": "http"}, receive, send)
    assert [message.get("body") for message in sent] == [None, b": ping\r\n", b"data: {}\r\n\r\n"]


def test_comments_are_one_line() -> None:
    for comment in (frames.OPENED, frames.KEEPALIVE):
        assert comment.startswith(b": ")
        assert comment.endswith(b"\r\n")
        assert comment.count(b"\n") == 1
