"""Calls of tools with a context are answered on the fast path as on the SDK's way, with all that they say meanwhile."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from switchboard.everything.tools.logs import LEVELS
from switchboard.sessions import service
from switchboard.state import open_state
from tests.http.odd_tools import GATES, Gate
from tests.http.speaking_tools import CLOSED, SILENT, SPEAKING
from tests.http.test_fast_path import configured, few_words, two_ways
from tests.sessions.conftest import CAPABILITIES, Events, Session, Worker, Workers
from tools.messages import call, modern_headers, notification, request
from tools.messages import modern as as_modern

__all__ = ["few_words"]

FAST_VERSIONS = ("2025-06-18", "2025-11-25")
ANSWERS: dict[str, dict[str, Any]] = {
    "elicitation/create": {"result": {"action": "accept", "content": {"word": "é"}}},
    "sampling/createMessage": {
        "result": {"role": "assistant", "content": {"type": "text", "text": "said"}, "model": "m"}
    },
    "roots/list": {"result": {"roots": [{"uri": "file:///a"}]}},
    "ping": {"result": {}},
}
ELICIT = "elicitation/create"
REFUSALS = {method: {"error": {"code": -32000, "message": "no"}} for method in ANSWERS}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the tools that speak, under their own names."""
    return configured(tmp_path, monkeypatch, "speaking", "tests.http.speaking_tools:plugin")


@pytest.fixture
async def ways(redis_url: str, config: Path) -> AsyncIterator[Workers]:
    """Two workers of one fleet: one with the fast path, one without."""
    async with (
        two_ways(redis_url, config) as workers,
        httpx2.AsyncClient(timeout=60) as http,
        open_state(redis_url) as state,
    ):
        yield Workers(list(workers), http, state)


@pytest.fixture
def streaming_at_once(ways: Workers) -> Iterator[None]:
    """Replies become streams at once. It ends before `ways`, which set the window first and put it back last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "COMMIT_WINDOW_S", 0.0)
        yield


@pytest.fixture
def gate() -> Iterator[Gate]:
    GATES["a"] = Gate()
    yield GATES["a"]
    del GATES["a"]


def short(workers: Workers) -> int:
    assert workers.b.app.rooms.fast_path.short == 0
    return workers.a.app.rooms.fast_path.short


async def modern_transcript(workers: Workers, worker: Worker, message: Any, capabilities: Any = None) -> list[Any]:
    """The bytes that a modern client is told for one call; states are sealed anew for each."""
    sent = as_modern(message, capabilities)
    headers = {**modern_headers(sent), "x-test": "a header"}
    response = await workers.http.post(worker.url, json=sent, headers=headers)
    shown = sorted((name, value) for name, value in response.headers.items() if name not in UNLIKE)
    text = re.sub(r'"requestState":"[^"]+"', '"requestState":"sealed"', response.text)
    if response.headers["content-type"].startswith("text/event-stream"):
        return [response.status_code, shown, text]
    return [response.status_code, shown, json.loads(text)]


UNLIKE = frozenset({"x-request-id", "content-length", "date"})


async def transcript(session: Session, worker: Worker, message: Any, answers: Any = ANSWERS) -> list[Any]:
    """All that a client is told for one call, and that it is asked; what it is asked it answers."""
    headers = {**session.headers, "x-test": "a header"}
    told: list[Any] = []
    async with session.workers.http.stream("POST", worker.url, json=message, headers=headers) as response:
        kind = response.headers["content-type"]
        told.append((response.status_code, kind, sorted(response.headers.keys() - UNLIKE)))
        if kind.startswith("application/json"):
            return [*told, json.loads(await response.aread())]
        events = Events(response)
        while True:
            try:
                event = (await events.next()).message
            except StopAsyncIteration:
                return told
            if event and "method" in event and "id" in event:
                answer = {"jsonrpc": "2.0", "id": event["id"], **answers[event["method"]]}
                assert (await session.post(worker, answer)).status_code == 202
                event = {**event, "id": "asked"}
            told.append(event)


async def both(session: Session, message: Any, answers: Any = ANSWERS) -> tuple[list[Any], list[Any]]:
    workers = session.workers
    return (
        await transcript(session, workers.a, message, answers),
        await transcript(session, workers.b, message, answers),
    )


def table() -> Iterator[dict[str, Any]]:
    """Calls, each with and without a token for progress."""
    metas: tuple[dict[str, Any], ...] = (
        {},
        {"progressToken": 7},
        {"progressToken": "t", "io.modelcontextprotocol/logLevel": "warning"},
        {"io.modelcontextprotocol/clientInfo": {"name": "another", "version": "2"}},
    )
    for meta in metas:
        for tool in (*SILENT, *SPEAKING):
            yield call(tool.__name__, {}, "é", **meta)
        yield call("tells", {"n": "3"}, 3, **meta)
        yield call("tells", {"n": "z", "zz": 1}, 4, **meta)
        yield call("reports", {"steps": 0}, 5, **meta)
        yield call("refuses_at_once", {"code": -32601}, 6, **meta)
        yield call("logEveryLevel", {}, 8, **meta)
        yield call("whoami", {}, 9, **meta)
    yield request("tools/call", 10, {"name": "tells"})


@pytest.mark.parametrize("version", FAST_VERSIONS)
async def test_whatever_a_tool_says_in_a_session_reaches_its_client_alike(ways: Workers, version: str) -> None:
    session, calls = await ways.open(version), list(table())
    for message in calls:
        fast, slow = await both(session, message)
        if message["params"]["name"] == "whoami":
            fast[1]["result"], slow[1]["result"] = _without_worker(fast), _without_worker(slow)
        assert fast == slow
    assert short(ways) == len(calls), "one of them went the SDK's way"


async def test_whatever_a_tool_says_to_a_modern_client_reaches_it_alike(ways: Workers) -> None:
    calls = [message for message in table() if message["params"]["name"] != "whoami"]
    streams = 0
    for message in calls:
        fast, slow = [await modern_transcript(ways, worker, message) for worker in ways.every]
        assert fast == slow
        streams += isinstance(fast[2], str)
    assert short(ways) == len(calls), "one of them went the SDK's way"
    assert streams > len(SPEAKING)


@pytest.mark.parametrize("capabilities", [CAPABILITIES, {}], ids=["declared", "undeclared"])
async def test_a_modern_client_is_asked_the_same_with_states_that_either_way_takes(
    ways: Workers, capabilities: Any
) -> None:
    calls = [call(tool) for tool in ASKING] + [call("sampleLLM", {"prompt": "p"})]
    for message in calls:
        fast, slow = [await modern_transcript(ways, worker, message, capabilities) for worker in ways.every]
        assert fast == slow
    assert short(ways) == len(calls)
    for worker in ways.every if capabilities else ():
        sent = as_modern(call("elicits"), capabilities)
        first = await ways.http.post(worker.url, json=sent, headers=modern_headers(sent))
        result = first.json()["result"]
        (asked,) = result["inputRequests"]
        again = {"requestState": result["requestState"], "inputResponses": {asked: {**ANSWERS[ELICIT]["result"]}}}
        sent = {**sent, "id": 2, "params": {**sent["params"], **again}}
        second = await ways.http.post(ways.b.url, json=sent, headers=modern_headers(sent))
        assert "é" in second.json()["result"]["content"][0]["text"]


async def test_a_modern_client_that_leaves_ends_its_call(ways: Workers, gate: Gate) -> None:
    sent = as_modern(WAITING)
    async with asyncio.TaskGroup() as tasks:
        post = tasks.create_task(ways.http.post(ways.a.url, json=sent, headers=modern_headers(sent)))
        await gate.reached.wait()
        post.cancel()
    await gate.cancelled.wait()
    assert short(ways) == 1


def _without_worker(told: list[Any]) -> Any:
    structured = told[1]["result"]["structuredContent"]
    return {**structured, "worker": structured["worker"] is not None}


async def test_a_report_of_progress_makes_the_answer_a_stream_and_silence_does_not(ways: Workers) -> None:
    session = await ways.open()
    told = await transcript(session, ways.a, call("reports", {}, 1, progressToken=7))
    assert [event["params"]["progress"] for event in told[1:] if event and "params" in event] == [0, 1]
    assert told[-1]["result"]["content"][0]["text"] == "reported"
    told = await transcript(session, ways.a, call("reports", {}, 1))
    assert told[0][1].startswith("application/json")
    assert short(ways) == 2


@pytest.mark.parametrize("level", ["debug", "error"])
async def test_log_messages_arrive_by_the_level_that_the_client_set(ways: Workers, level: str) -> None:
    session = await ways.open()
    assert (await session.post(ways.a, request("logging/setLevel", 1, {"level": level}))).status_code == 200
    fast, slow = await both(session, call("logEveryLevel"))
    assert fast == slow
    said = [event["params"]["level"] for event in fast[1:] if event and "params" in event]
    assert said == list(LEVELS[LEVELS.index(level) :])


ASKING = ("elicits", "resolved", "elicitInputs", "listRoots", "pings")


@pytest.mark.parametrize("answers", [ANSWERS, REFUSALS], ids=["answered", "refused"])
@pytest.mark.parametrize("capabilities", [CAPABILITIES, {}], ids=["declared", "undeclared"])
async def test_what_a_client_is_asked_is_the_same(ways: Workers, capabilities: Any, answers: Any) -> None:
    session = await ways.open(capabilities=capabilities)
    calls = [call(tool) for tool in ASKING] + [call("sampleLLM", {"prompt": "p"})]
    for message in calls:
        fast, slow = await both(session, message, answers)
        assert fast == slow
        asked = any(event and event.get("id") == "asked" for event in fast[1:])
        assert asked is (bool(capabilities) or message["params"]["name"] == "pings")
    assert short(ways) == len(calls)


async def test_what_belongs_to_no_call_goes_to_the_sessions_own_stream(ways: Workers) -> None:
    session = await ways.open()
    heard = []
    for worker in ways.every:
        async with session.listen(worker) as stream:
            await stream.next()
            await session.call(worker, "notifies")
            heard.append((await stream.message()).message)
    assert heard[0] == heard[1]
    assert heard[0]["method"] == "notifications/resources/updated"


async def test_a_tool_that_lets_its_client_poll_goes_on_without_it(ways: Workers) -> None:
    session = await ways.open()
    message = call("closes", {}, 1, progressToken=1)
    for worker in ways.every:
        async with session.stream(worker, message) as stream:
            last = (await stream.next()).id
            await stream.rest()
        async with session.listen(worker, last) as stream:
            events = [event.message for event in await stream.rest()]
        assert [event.get("method", "result") for event in events] == ["notifications/progress", "result"]
    assert short(ways) == 1


async def test_what_a_tool_left_with_its_connection_is_closed_when_its_call_ends(ways: Workers) -> None:
    session = await ways.open()
    CLOSED.clear()
    for number, worker in enumerate(ways.every, 1):
        await session.call(worker, "leaves_something", id=f"c{number}")
        assert len(CLOSED) == number
    assert CLOSED == ["c1", "c2"]


WAITING = call("waits_with_context", {"gate": "a"}, id=7)


async def test_a_call_that_its_client_cancels_ends_without_a_response(ways: Workers, gate: Gate) -> None:
    session = await ways.open()
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(session.post(ways.a, WAITING))
        await gate.reached.wait()
        await session.post(ways.a, notification("notifications/cancelled", {"requestId": 7}))
    assert gate.cancelled.is_set()
    assert answer.result().headers["content-type"].startswith("text/event-stream")
    assert "data" not in answer.result().text
    assert short(ways) == 1


@pytest.mark.usefixtures("streaming_at_once")
async def test_a_call_is_cancelled_through_any_worker_once_it_has_spoken(ways: Workers, gate: Gate) -> None:
    session = await ways.open()
    async with session.stream(ways.a, WAITING) as stream:
        await gate.reached.wait()
        await session.post(ways.b, notification("notifications/cancelled", {"requestId": 7}))
        assert await stream.rest() == []
    assert gate.cancelled.is_set()


@pytest.mark.usefixtures("streaming_at_once")
async def test_a_client_that_leaves_its_call_can_resume_it(ways: Workers, gate: Gate) -> None:
    session = await ways.open()
    async with session.stream(ways.a, WAITING) as stream:
        last = (await stream.next()).id
    gate.open.set()
    async with session.listen(ways.b, last) as stream:
        (event,) = await stream.rest()
    assert event.message["result"]["content"][0]["text"] == "waited 7"
    assert short(ways) == 1
