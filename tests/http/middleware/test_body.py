from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from switchboard.http.jsonrpc import Malformed
from switchboard.http.middleware.body_limit import BodyLimit
from switchboard.http.request_body import read_body

LIMIT = 1000


async def size(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def post(content: bytes | AsyncIterator[bytes]) -> httpx2.Response:
    transport = httpx2.ASGITransport(BodyLimit(size, LIMIT))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.post("/mcp", content=content)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_body_of_the_limit_passes() -> None:
    assert (await post(b"x" * LIMIT)).text == str(LIMIT)


async def test_a_declared_body_that_is_too_large_is_refused_as_a_json_rpc_error() -> None:
    answer = await post(b"x" * (LIMIT + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == -32600
    assert "MAX_BODY_BYTES" in answer.json()["error"]["message"]


async def test_a_streamed_body_passes_whole() -> None:
    assert (await post(chunks(b"x" * 400, b"", b"x" * 600))).text == str(LIMIT)


async def test_a_streamed_body_that_grows_too_large_is_refused() -> None:
    assert (await post(chunks(b"x" * 600, b"x" * 600))).status_code == 413


async def test_a_streamed_body_is_not_read_further_than_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b"x" * 500

    assert (await post(endless())).status_code == 413
    assert read <= 4


async def test_nothing_of_a_streamed_body_is_read_for_a_request_that_is_refused_without_it() -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("who are you?", 401)(scope, receive, send)

    async def receive() -> Message:
        pytest.fail("nobody asked for the body")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}
    await BodyLimit(refusing, LIMIT)(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_after_a_refusal_the_room_below_sees_a_client_that_left_and_cannot_answer_too() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            seen.append(message["type"])
        seen.append(message["type"])
        await PlainTextResponse("half of a request", 400)(scope, receive, send)

    transport = httpx2.ASGITransport(BodyLimit(app, LIMIT))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.post("/mcp", content=chunks(b"x" * 600, b"x" * 600))
    assert answer.status_code == 413
    assert seen == ["http.request", "http.disconnect"]


async def test_after_a_streamed_body_the_disconnect_is_still_seen() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_: Message) -> None:
        pytest.fail("nothing was to be sent")

    scope = {"type": "http", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}
    await BodyLimit(app, LIMIT)(scope, receive, send)
    assert seen == ["http.request", "http.disconnect"]


@given(st.lists(st.integers(0, 400), max_size=8))
async def test_a_streamed_body_passes_exactly_when_it_is_within_the_limit(sizes: list[int]) -> None:
    answer = await post(chunks(*(b"x" * each for each in sizes)))
    assert answer.status_code == (200 if sum(sizes) <= LIMIT else 413)


def sending(*messages: Message) -> Receive:
    """A client that sends these."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


@pytest.mark.parametrize(
    "sent",
    [
        [{"body": b"ab", "more_body": False}],
        [{"body": b"ab"}],
        [{"body": b"a", "more_body": True}, {"body": b"b", "more_body": False}],
        [{"body": b"a", "more_body": True}, {"more_body": True}, {"body": b"b"}],
    ],
)
async def test_a_body_is_read_to_its_last_part_and_no_further(sent: list[Message]) -> None:
    assert await read_body(sending(*({"type": "http.request", **part} for part in sent))) == b"ab"


@pytest.mark.parametrize("begun", [[], [{"type": "http.request", "body": b"a", "more_body": True}]])
async def test_a_body_that_its_client_did_not_finish_is_refused(begun: list[Message]) -> None:
    with pytest.raises(Malformed, match="left before its request was complete"):
        await read_body(sending(*begun, {"type": "http.disconnect"}))
