"""Streams of server-sent events: what is left around one that is idle, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from switchboard.errors import SessionGone
from switchboard.http.event_stream import Streaming, send_events

WITHIN_S = 60
about: ContextVar[str] = ContextVar("about", default="nothing")


class Stream:
    """A client's stream through a layer that returns, and what the client has of it."""

    def __init__(self, *, apart: bool = True) -> None:
        self.layer_left = asyncio.Event()
        self.closed = asyncio.Event()
        self.wanted: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.left = asyncio.Event()
        self.apart = apart

    async def chunks(self) -> AsyncGenerator[bytes]:
        try:
            yield b"first"
            while (chunk := await self.wanted.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk + about.get().encode()
        finally:
            self.closed.set()

    async def endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = about.set(" of alice")
        try:
            await send_events(self.chunks(), receive, send, [], scope if self.apart else None)
        finally:
            about.reset(named)
            self.layer_left.set()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    def serve(self) -> asyncio.Task[None]:
        return asyncio.create_task(Streaming(self.endpoint)({"type": "http"}, self.receive, self.sent.put))

    async def begin(self) -> asyncio.Task[None]:
        serving = self.serve()
        assert (await self.sent.get())["status"] == 200
        assert (await self.sent.get())["body"] == b"first"
        return serving


@pytest.fixture(autouse=True)
async def bounded() -> Any:
    async with asyncio.timeout(WITHIN_S):
        yield


async def test_a_stream_goes_on_in_its_context_after_all_that_was_around_its_endpoint_has_returned() -> None:
    stream = Stream()
    serving = await stream.begin()
    await stream.layer_left.wait()
    stream.wanted.put_nowait(b"second")
    assert await stream.sent.get() == {"type": "http.response.body", "body": b"second of alice", "more_body": True}
    stream.wanted.put_nowait(None)
    await serving
    assert await stream.sent.get() == {"type": "http.response.body", "body": b"", "more_body": False}
    assert stream.closed.is_set()


async def test_a_stream_after_which_something_is_to_be_done_is_sent_from_within() -> None:
    stream = Stream(apart=False)
    serving = await stream.begin()
    stream.wanted.put_nowait(b"second")
    assert (await stream.sent.get())["body"] == b"second of alice"
    assert not stream.layer_left.is_set()
    stream.wanted.put_nowait(None)
    await serving
    assert stream.layer_left.is_set()


@pytest.mark.parametrize("apart", [True, False])
async def test_a_client_that_leaves_ends_its_stream_and_is_sent_nothing_more(apart: bool) -> None:
    stream = Stream(apart=apart)
    serving = await stream.begin()
    stream.left.set()
    await serving
    assert stream.closed.is_set()
    assert stream.sent.empty()


@pytest.mark.parametrize("apart", [True, False])
async def test_the_stream_of_a_client_that_had_left_before_it_began_is_closed(apart: bool) -> None:
    stream = Stream(apart=apart)
    stream.left.set()
    await stream.serve()
    assert stream.closed.is_set()


@pytest.mark.parametrize("apart", [True, False])
async def test_a_worker_that_gives_a_request_up_closes_its_stream(apart: bool) -> None:
    stream = Stream(apart=apart)
    serving = await stream.begin()
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert stream.closed.is_set()
    assert stream.sent.empty()


async def test_a_request_that_is_given_up_in_the_moment_in_which_its_stream_ends_stays_given_up() -> None:
    stream = Stream()
    serving = await stream.begin()
    await stream.layer_left.wait()
    stream.wanted.put_nowait(None)
    await stream.closed.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_the_end_of_its_session_just_ends_a_stream_and_any_other_error_is_the_servers() -> None:
    stream = Stream()
    serving = await stream.begin()
    stream.wanted.put_nowait(SessionGone("s"))
    await serving
    assert (await stream.sent.get())["more_body"] is False
    broken = Stream()
    serving = await broken.begin()
    broken.wanted.put_nowait(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await serving
    assert broken.sent.empty()


async def test_a_stream_that_fails_before_its_first_chunk_leaves_its_answer_to_others() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        raise SessionGone("s")
        yield b""

    async def receive() -> Message:
        raise AssertionError("nobody waits for the client of a stream that never began")

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is sent of a stream that never began")

    with pytest.raises(SessionGone):
        await send_events(chunks(), receive, send, [], {"type": "http", "state": {}})


async def test_what_a_client_sends_besides_does_not_end_its_stream() -> None:
    stream, more = Stream(), asyncio.Queue[Message]()
    stream.receive = more.get  # type: ignore[method-assign]
    serving = await stream.begin()
    await stream.layer_left.wait()
    for _ in range(2):
        more.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    for _ in range(20):
        await asyncio.sleep(0)
    assert more.empty(), "it still listens"
    stream.wanted.put_nowait(b"second")
    assert (await stream.sent.get())["body"] == b"second of alice"
    more.put_nowait({"type": "http.disconnect"})
    await serving
    assert stream.closed.is_set()
