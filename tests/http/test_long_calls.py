"""Calls on the fast path that last: what their clients get, and what ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from switchboard.http import modern_direct
from switchboard.http.modern_direct import DirectRequests
from switchboard.identity.principal import ANONYMOUS, Caller
from switchboard.identity.principal import serving as as_caller
from switchboard.protocol.direct_requests import Prepared, PreparedInContext, Unfinished
from switchboard.state import open_state
from tests.http.odd_tools import GATES, Gate
from tests.http.test_fast_path import config
from tests.sessions.conftest import Workers, serving
from tools.messages import call, modern, modern_headers, notification

__all__ = ["config"]


@pytest.fixture
async def workers(config: Path) -> AsyncIterator[Workers]:
    """One worker with the odd tools."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(serving(None, config_file=config))
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=120))
        yield Workers([worker], http, await stack.enter_async_context(open_state(None)))


@pytest.fixture
def gate() -> Iterator[Gate]:
    GATES["a"] = Gate()
    yield GATES["a"]
    del GATES["a"]


def short(workers: Workers) -> int:
    return workers.a.app.rooms.fast_path.short


WAITING = call("waits", {"gate": "a"}, id=7)


async def test_a_long_call_of_a_session_becomes_a_stream_that_carries_its_result(workers: Workers, gate: Gate) -> None:
    session = await workers.open()
    async with session.stream(workers.a, WAITING) as stream:  # begun: the commit window is over
        gate.open.set()
        messages = [event.message for event in await stream.rest()]
    assert [message["result"]["content"][0]["text"] for message in messages if message] == ["waited"]
    assert short(workers) == 1


async def test_a_client_that_leaves_its_long_call_can_resume_it(workers: Workers, gate: Gate) -> None:
    session = await workers.open()
    async with session.stream(workers.a, WAITING) as stream:
        last = (await stream.next()).id
    gate.open.set()
    assert last is not None
    async with session.listen(workers.a, last) as stream:
        (event,) = await stream.rest()
    assert event.message is not None
    assert event.message["result"]["content"][0]["text"] == "waited"
    assert not gate.cancelled.is_set()


async def test_a_call_that_its_client_cancels_ends_without_a_response(workers: Workers, gate: Gate) -> None:
    session = await workers.open()
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(session.post(workers.a, WAITING))
        await gate.reached.wait()
        await session.post(workers.a, notification("notifications/cancelled", {"requestId": 7}))
    assert gate.cancelled.is_set()
    assert answer.result().headers["content-type"].startswith("text/event-stream")
    assert "data" not in answer.result().text


async def test_a_long_call_that_its_client_cancels_ends_its_stream(workers: Workers, gate: Gate) -> None:
    session = await workers.open()
    async with session.stream(workers.a, WAITING) as stream:
        await session.post(workers.a, notification("notifications/cancelled", {"requestId": 7}))
        assert await stream.rest() == []
    assert gate.cancelled.is_set()


async def test_a_long_call_ends_with_its_session(workers: Workers, gate: Gate) -> None:
    session = await workers.open()
    async with session.stream(workers.a, WAITING) as stream:
        await workers.http.delete(workers.a.url, headers=session.headers)
        await stream.rest()
    await gate.cancelled.wait()


async def test_a_modern_client_that_leaves_ends_its_call(workers: Workers, gate: Gate) -> None:
    sent = modern(WAITING)
    async with asyncio.TaskGroup() as tasks:
        post = tasks.create_task(workers.http.post(workers.a.url, json=sent, headers=modern_headers(sent)))
        await gate.reached.wait()
        post.cancel()
    await gate.cancelled.wait()
    assert short(workers) == 1


class Waiting:
    """A prepared request that waits for its gate, and then gives or raises what it was told to."""

    id, method = 7, "tools/call"

    def __init__(self, end: Exception | dict[str, Any]) -> None:
        self.gate, self.end = Gate(), end

    async def run(self) -> dict[str, Any]:
        self.gate.reached.set()
        try:
            await self.gate.open.wait()
        except asyncio.CancelledError:
            self.gate.cancelled.set()
            raise
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


class Client:
    """The ASGI side of a client that stays; what it sends after its body is nothing to anybody."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.pinged = asyncio.Event()
        self.more = [{"type": "http.request", "body": b"", "more_body": False}] * 2

    async def receive(self) -> Any:
        if not self.more:
            await asyncio.Event().wait()
        return self.more.pop()

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message.get("body") == b": ping\r\n":
            self.pinged.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def sealed(_speaker: Any, _connection: Any, _state: Any) -> dict[str, Any]:
    """What stands for the server's middleware, with a result that asks for more."""
    return {"sealed": 1}


SEALED = {"jsonrpc": "2.0", "id": 7, "result": {"sealed": 1}}


def unfinished() -> Unfinished:
    return Unfinished(PreparedInContext(sealed))


@contextmanager
def never(_still_valid: object, _end: object) -> Iterator[None]:
    yield


async def served(client: Client, prepared: Prepared | PreparedInContext, ending: Any = never) -> None:
    """Serve a modern call, over HTTP."""
    scope = {"type": "http", "headers": []}
    await DirectRequests(ending).serve(
        prepared, modern(WAITING), lambda: Request(scope), scope, client.receive, client.send
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments come as soon as a call is attended."""
    monkeypatch.setattr(modern_direct, "PING_S", modern_direct.ATTENDED_AFTER_S)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("end", "told"),
    [({"a": "é\u2028"}, {"jsonrpc": "2.0", "id": 7, "result": {"a": "é\u2028"}}), (unfinished(), SEALED)],
)
async def test_a_silent_modern_call_is_kept_open_by_comments_and_ends_with_an_event(end: Any, told: Any) -> None:
    client, waiting = Client(), Waiting(end)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(served(client, waiting))
        await client.pinged.wait()
        waiting.gate.open.set()
    assert client.sent[0]["headers"][0] == (b"content-type", b"text/event-stream")
    head, _, data = client.text.partition("event: message\r\ndata: ")
    assert set(head.split("\r\n")) == {": ping", ""}
    assert data.endswith("\r\n\r\n")
    assert json.loads(data) == told
    assert client.sent[-1]["more_body"] is False


@pytest.mark.usefixtures("impatient")
async def test_a_modern_call_that_has_spoken_is_kept_open_by_comments_and_says_nothing_after_its_response() -> None:
    client, waiting, kept = Client(), Waiting({"done": 1}), []

    async def serve(speaker: Any, connection: Any, _state: Any) -> dict[str, Any]:
        kept.append(speaker)
        await speaker.notify("notifications/message", {"data": "é"})
        assert connection.client_capabilities is not None
        return await waiting.run()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(served(client, PreparedInContext(serve)))
        await client.pinged.wait()
        waiting.gate.open.set()
    await kept[0].notify("notifications/message", {"data": "too late"})
    events = [line.removeprefix("data: ") for line in client.text.splitlines() if line.startswith("data: ")]
    assert [json.loads(event).get("params", "response") for event in events] == [{"data": "é"}, "response"]
    assert client.text.index("notifications/message") < client.text.index(": ping") < client.text.index('"done":1')
    assert client.sent[-1]["more_body"] is False


async def test_a_result_that_asks_for_more_is_finished_in_a_context() -> None:
    client, waiting = Client(), Waiting(unfinished())
    waiting.gate.open.set()
    await served(client, waiting)
    assert client.sent[0]["headers"][0] == (b"content-type", b"application/json")
    assert json.loads(client.text) == SEALED


async def test_a_result_that_asks_for_more_is_given_to_its_own_call_alone(workers: Workers) -> None:
    async with asyncio.timeout(120):
        reader, writer = await asyncio.open_connection("127.0.0.1", workers.a.port)
        for number, tool in enumerate(("more_input", "with_context")):  # the second is sent ahead of the first's answer
            message = modern(call(tool, {}, id=number))
            named = {**modern_headers(message), "content-type": "application/json", "host": "localhost"}
            body = json.dumps(message).encode()
            head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
            writer.write(f"POST /mcp HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        results = []
        for _ in range(2):
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length: "))
            results.append(json.loads(await reader.readexactly(int(length[16:])))["result"])
        writer.close()
    assert "inputRequests" in results[0]
    assert results[1]["content"][0]["text"] == "1"


async def test_a_modern_call_ends_with_its_token() -> None:
    client, waiting = Client(), Waiting({})

    @contextmanager
    def ending(_still_valid: Callable[[], Awaitable[bool]] | None, end: Callable[[], None]) -> Iterator[None]:
        end()
        yield

    async def good() -> bool:
        return True

    with as_caller(Caller(ANONYMOUS, still_valid=good)):
        await served(client, waiting, ending)
    assert waiting.gate.cancelled.is_set()
    assert client.sent[0]["status"] == 401
