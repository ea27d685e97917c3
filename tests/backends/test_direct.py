"""Backends' tools on the fast path: answered as on the SDK's way, whatever their clients are asked and told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import LOG_LEVEL_META_KEY

from switchboard.backends.direct import DirectCalls
from switchboard.protocol.direct_requests import NeedsContext, ToolCall
from switchboard.sessions import service
from switchboard.state import open_state
from tests.backends.conftest import SERVERS, Serve
from tests.http.test_fast_context import ANSWERS, REFUSALS, both, modern_transcript, short, transcript
from tests.http.test_fast_path import Sent, Ways, differing, few_words, opened, two_ways
from tests.sessions.conftest import CAPABILITIES, Worker, Workers, serving
from tools.messages import call, modern, modern_headers, notification

__all__ = ["few_words"]

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("echo", {"text": "hé\u2028"}),
    ("echo", {"text": 7}),
    ("echo", {"text": None, "more": [None, {"a": None}]}),
    ("add", {"a": 1, "b": 2**70}),
    ("add", {"a": "one", "b": 2}),
    ("steps", {"count": 2}),
    ("ask", {"tag": "?"}),
    ("rounds", {"unasked": 1}),
    ("think", {"unasked": 1}),
    ("roots", {"unasked": 1}),
    ("fail", {"unasked": 1}),
)


def sent(ways: Ways, backends: tuple[str, ...], **more: Any) -> Iterator[tuple[str, Sent]]:
    for backend in backends:
        for name, arguments in CALLS:
            message = modern(call(f"{backend}__{name}", arguments), **more)
            yield f"{backend} {name} {arguments}", ways.modern(message)


@dataclass
class Counting:
    """An ASGI application that counts the calls of tools that are sent to it."""

    app: Any
    calls: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def counted() -> Any:
            message = await receive()
            self.calls += b'"tools/call"' in message.get("body", b"")
            return message

        await self.app(scope, counted, send)


@pytest.fixture
def far(handy: Any) -> Counting:
    """The server over HTTP."""
    return Counting(handy.server().streamable_http_app())


@pytest.fixture
async def file(tmp_path: Path, serve: Serve, far: Counting) -> Path:
    """A configuration with the handy server as a child and over HTTP, in either era there."""
    url = await serve(far)
    child = {"command": sys.executable, "args": [str(SERVERS / "handy.py")], "scope": "shared"}
    servers: dict[str, Any] = {name: {"url": url, "scope": "shared"} for name in ("far", "old")}
    servers = {
        "child": child,
        "far": {**servers["far"], "era": "modern"},
        "old": {**servers["old"], "era": "handshake"},
    }
    path = tmp_path / "backends.json"
    path.write_text(json.dumps({"plugins": {"everything": {"enabled": False}}, "mcpServers": servers}))
    return path


BACKENDS = ("child", "far", "old")


async def offered(*workers: Worker) -> None:
    """Wait until these workers have all backends."""
    async with asyncio.timeout(60), httpx2.AsyncClient(timeout=60) as http:
        for worker in workers:
            for backend in BACKENDS:
                sent = modern(call(f"{backend}__echo", {"text": "there?"}))
                while "there?" not in (await http.post(worker.url, json=sent, headers=modern_headers(sent))).text:
                    await asyncio.sleep(0.05)


async def test_calls_go_the_short_way_where_nobody_is_told_or_asked_and_are_answered_alike(
    redis_url: str, file: Path
) -> None:
    async with opened(redis_url, file) as ways:
        await offered(ways.fast, ways.slow)
        plain, before = list(sent(ways, BACKENDS)), ways.short
        assert await differing(ways, plain) == {}
        assert ways.short - before == len(plain)


@pytest.fixture
async def workers(redis_url: str, file: Path) -> AsyncIterator[Workers]:
    """Two workers of one fleet over the backends: one with the fast path, one without."""
    async with (
        two_ways(redis_url, file) as pair,
        httpx2.AsyncClient(timeout=60) as http,
        open_state(redis_url) as state,
    ):
        await offered(*pair)
        yield Workers(list(pair), http, state)


NAMED = {**ANSWERS, "elicitation/create": {"result": {"action": "accept", "content": {"name": "Ada"}}}}
METAS: tuple[dict[str, Any], ...] = ({}, {"progressToken": "p"}, {LOG_LEVEL_META_KEY: "info"})
SPEAKING: tuple[tuple[str, dict[str, Any]], ...] = (("echo", {"text": "é"}), ("steps", {"count": 2}), ("steps", {}))
ASKING: tuple[tuple[str, dict[str, Any]], ...] = (("ask", {"tag": "é"}), ("think", {}), ("rounds", {}), ("roots", {}))


def table(backend: str, *asking: tuple[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Calls of a backend's tools: with and without a token for progress and a level for log messages, and questions."""
    for name, arguments in SPEAKING:
        for number, meta in enumerate(METAS):
            yield call(f"{backend}__{name}", arguments, number, **meta)
    for name, arguments in (*asking, ("fail", {})):
        yield call(f"{backend}__{name}", arguments, "é")


@pytest.mark.parametrize(("version", "answers"), [("2025-11-25", NAMED), ("2025-06-18", REFUSALS)])
async def test_whatever_a_backend_says_and_asks_in_a_session_reaches_its_client_alike(
    workers: Workers, version: str, answers: Any
) -> None:
    session, before = await workers.open(version), short(workers)
    calls = [each for backend in BACKENDS for each in table(backend, *ASKING)]
    streams = 0
    for message in calls:
        fast, slow = await both(session, message, answers)
        assert fast == slow, message
        streams += len(fast) > 2
    assert short(workers) - before == len(calls), "one of them went the SDK's way"
    assert streams > 2 * len(METAS) * len(BACKENDS), "few of them spoke"


async def test_whatever_a_backend_says_and_asks_of_a_modern_client_reaches_it_alike(workers: Workers) -> None:
    before, calls, streams = short(workers), 0, 0
    for backend in BACKENDS:
        # A call that waits for its client stays in flight; only over HTTP does a backend say which of two calls asks.
        attributed = {"child": (), "far": ASKING, "old": ASKING[:2]}[backend]
        for capabilities, asked in ((None, ASKING), (CAPABILITIES, attributed)):
            for message in table(backend, *asked):
                fast, slow = [await modern_transcript(workers, each, message, capabilities) for each in workers.every]
                assert fast == slow, message
                calls, streams = calls + 1, streams + isinstance(fast[2], str)
    assert short(workers) - before == calls, "one of them went the SDK's way"
    assert streams > len(BACKENDS), "few of them spoke"


@pytest.mark.parametrize(("tool", "arguments"), [("child__ask", {"tag": "é"}), ("old__ask", {}), ("far__rounds", {})])
async def test_a_modern_client_that_is_asked_goes_on_with_the_call_that_was_begun(
    workers: Workers, tool: str, arguments: dict[str, Any]
) -> None:
    sent = modern(call(tool, arguments), CAPABILITIES)
    first = await workers.http.post(workers.a.url, json=sent, headers=modern_headers(sent))
    result = first.json()["result"]
    (asked,) = result["inputRequests"]
    answer = {"action": "accept", "content": {"name": "Ada"}}
    again = {"requestState": result["requestState"], "inputResponses": {asked: answer}}
    sent = {**sent, "id": 2, "params": {**sent["params"], **again}}
    second = await workers.http.post(workers.b.url, json=sent, headers=modern_headers(sent))
    assert "Ada" in second.json()["result"]["content"][0]["text"]


async def test_a_call_that_goes_on_in_its_context_was_sent_to_its_backend_once(workers: Workers, far: Counting) -> None:
    session, before = await workers.open(), far.calls
    calls = [call(f"{backend}__steps", {"count": 2}, backend, progressToken="p") for backend in ("far", "old")]
    for message in (*calls, call("old__ask", {"tag": "é"}, 3), call("far__steps", {"count": 1}, 4)):
        fast, _slow = await both(session, message)
        assert len(fast) > 2, "it was answered without a word before"
    assert far.calls - before == 2 * (len(calls) + 2)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_call_that_its_client_cancels_is_cancelled_at_its_backend(
    workers: Workers, backend: str, tmp_path: Path
) -> None:
    session, path = await workers.open(), tmp_path / "said"

    async def said(words: str) -> None:
        async with asyncio.timeout(120):
            while not path.exists() or path.read_text().split() != words.split():
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(session.post(workers.a, call(f"{backend}__hang", {"path": str(path)}, 7)))
        await said("began")
        await session.post(workers.a, notification("notifications/cancelled", {"requestId": 7}))
        await said("began cancelled")
    assert "data" not in answer.result().text


@pytest.mark.parametrize("tool", ["old__ask", "child__ask"])
async def test_a_call_that_asks_once_its_answer_is_a_stream_already_goes_on_in_that_stream(
    redis_url: str, file: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "COMMIT_WINDOW_S", 0.0)
    async with serving(redis_url, config_file=file) as worker, httpx2.AsyncClient(timeout=60) as http:
        await offered(worker)
        async with open_state(redis_url) as state:
            session = await Workers([worker, worker], http, state).open()
            told = await transcript(session, worker, call(tool, {"tag": "é"}), NAMED)
    begun, _opened, asked, answered = told
    assert begun[1].startswith("text/event-stream")
    assert asked["method"] == "elicitation/create"
    assert answered["result"]["isError"] is False


async def test_what_comes_of_a_call_that_is_over_waits_for_no_context() -> None:
    heard: list[Any] = []

    async def forward(_method: str, _body: Any, client: Any) -> Any:
        heard.extend(asyncio.ensure_future(say) for say in (client.progress(1, None, None), client.ask("ping", None)))
        raise MCPError(-1, "over")

    work = DirectCalls(forward).prepare(ToolCall("t", {}, {"progressToken": 1}, "2025-11-25"))
    with pytest.raises(MCPError, match="over"):
        await work()
    done, waiting = await asyncio.wait(heard, timeout=120)
    assert not waiting
    assert sorted(str(task.exception()) for task in done) == ["None", "The call that this belonged to is over"]


async def test_a_call_that_was_left_to_nobody_is_cancelled() -> None:
    ended = asyncio.Event()

    async def forward(_method: str, _body: Any, client: Any) -> Any:
        try:
            await client.progress(1, None, None)
        finally:
            ended.set()

    work = DirectCalls(forward).prepare(ToolCall("t", {}, {}, "2025-11-25"))
    with pytest.raises(NeedsContext) as waiting:
        await work()
    assert not ended.is_set()
    waiting.value.give_up()
    async with asyncio.timeout(120):
        await ended.wait()
