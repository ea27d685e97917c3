"""The modern era over HTTP: any worker, no session; listen streams; parked calls on whichever worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged

from tests.sessions.conftest import Start, Worker, Workers

VERSION = "2026-07-28"
FORM: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def message(method: str, params: dict[str, Any] | None = None, id: Any = 1, **meta: Any) -> dict[str, Any]:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": FORM,
        **meta,
    }
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**(params or {}), "_meta": envelope}}


def headers(sent: dict[str, Any]) -> dict[str, str]:
    found = {"accept": "application/json, text/event-stream", "mcp-protocol-version": VERSION}
    method = sent["method"]
    named = {"mcp-name": sent["params"][NAMED[method]]} if method in NAMED else {}
    return {**found, "mcp-method": method, **named}


async def ask(workers: Workers, worker: Worker, sent: dict[str, Any]) -> Any:
    return (await workers.http.post(worker.url, json=sent, headers=headers(sent))).json()


async def call(
    workers: Workers, worker: Worker, tool: str, arguments: dict[str, Any] | None = None, **more: Any
) -> Any:
    sent = message("tools/call", {"name": tool, "arguments": arguments or {}, **more})
    return await ask(workers, worker, sent)


async def test_any_worker_serves_any_call_and_no_session_is_made(workers: Workers) -> None:
    for _ in range(3):
        answer = await call(workers, workers.next(), "whoami")
        assert answer["result"]["structuredContent"]["session"] is None
        assert answer["result"]["resultType"] == "complete"
    sent = message("tools/list")
    response = await workers.http.post(workers.a.url, json=sent, headers=headers(sent))
    assert "mcp-session-id" not in response.headers
    assert response.json()["result"]["ttlMs"] >= 0


async def test_discovery_names_versions_capabilities_and_the_server(workers: Workers) -> None:
    result = (await ask(workers, workers.a, message("server/discover")))["result"]
    assert VERSION in result["supportedVersions"]
    assert result["capabilities"]["tools"]["listChanged"] is True
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "switchboard"


async def test_a_question_is_asked_by_one_worker_and_its_answer_taken_by_another(workers: Workers) -> None:
    first = (await call(workers, workers.a, "elicitInputs"))["result"]
    assert first["resultType"] == "input_required"
    [(key, question)] = first["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    answers = {key: {"action": "accept", "content": {"name": "Ada"}}}
    second = await call(workers, workers.b, "elicitInputs", inputResponses=answers, requestState=first["requestState"])
    assert second["result"]["resultType"] == "complete"
    assert "Ada" in json.dumps(second["result"]["content"])


async def test_a_tampered_request_state_is_refused(workers: Workers) -> None:
    first = (await call(workers, workers.a, "elicitInputs"))["result"]
    broken = await call(workers, workers.b, "elicitInputs", inputResponses={}, requestState=first["requestState"] + "x")
    assert broken["error"]["code"] == -32602


async def test_a_request_state_for_other_arguments_is_refused(workers: Workers) -> None:
    first = (await call(workers, workers.a, "sampleLLM", {"prompt": "one"}))["result"]
    other = await call(
        workers, workers.b, "sampleLLM", {"prompt": "two"}, inputResponses={}, requestState=first["requestState"]
    )
    assert other["error"]["code"] == -32602


@asynccontextmanager
async def listening(
    workers: Workers, worker: Worker, wanted: dict[str, Any], id: Any = "listen-1"
) -> AsyncIterator[Any]:
    sent = message("subscriptions/listen", {"notifications": wanted}, id)
    async with workers.http.stream("POST", worker.url, json=sent, headers=headers(sent)) as response:
        assert response.status_code == 200, (await response.aread()).decode()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _messages(response)


async def _messages(response: Any) -> AsyncIterator[Any]:
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])


async def heard(messages: Any) -> Any:
    async with asyncio.timeout(60):
        return await anext(messages)


async def test_a_listen_stream_is_acknowledged_and_hears_events_of_every_worker(workers: Workers) -> None:
    async with listening(workers, workers.a, {"toolsListChanged": True, "promptsListChanged": False}) as messages:
        acknowledged = await heard(messages)
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"]["notifications"] == {"toolsListChanged": True}
        await workers.b.app.rooms.bus.publish(PromptsListChanged())
        await workers.b.app.rooms.bus.publish(ToolsListChanged())
        event = await heard(messages)
    assert event["method"] == "notifications/tools/list_changed"
    for each in (acknowledged, event):
        assert each["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "listen-1"


async def test_a_listen_stream_hears_updates_of_the_resources_it_named_only(workers: Workers) -> None:
    mine, other = "test://static/resource/1", "test://static/resource/2"
    async with listening(workers, workers.a, {"resourceSubscriptions": [mine, mine]}) as messages:
        honored = (await heard(messages))["params"]["notifications"]
        assert honored == {"resourceSubscriptions": [mine]}
        await workers.b.app.rooms.bus.publish(ResourceUpdated(other))
        await workers.b.app.rooms.bus.publish(ResourceUpdated(mine))
        assert (await heard(messages))["params"]["uri"] == mine


async def test_a_listen_stream_hears_updates_under_the_form_of_the_uri_that_it_named(workers: Workers) -> None:
    mine = "TEST://static/resource/%31"
    async with listening(workers, workers.a, {"resourceSubscriptions": [mine]}) as messages:
        assert (await heard(messages))["params"]["notifications"] == {"resourceSubscriptions": [mine]}
        await workers.b.app.rooms.bus.publish(ResourceUpdated("test://static/resource/1"))
        assert (await heard(messages))["params"]["uri"] == mine


async def test_draining_ends_a_listen_stream_with_its_result(workers: Workers) -> None:
    async with listening(workers, workers.a, {"toolsListChanged": True}, id=9) as messages:
        await heard(messages)
        workers.a.app.drain()
        last = await heard(messages)
        assert [each async for each in messages] == []
    assert last["id"] == 9
    assert last["result"]["resultType"] == "complete"
    assert last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 9


async def test_a_client_that_leaves_takes_its_listen_stream_with_it(workers: Workers) -> None:
    streams = workers.a.app.rooms.streams
    async with listening(workers, workers.a, {"toolsListChanged": True}) as messages:
        await heard(messages)
        assert len(streams) == 1
    async with asyncio.timeout(60):
        while len(streams):
            await asyncio.sleep(0.005)


async def test_after_pub_sub_was_interrupted_a_listen_stream_is_told_to_look_again(two: Workers) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["test://static/resource/1"]}
    async with listening(two, two.a, wanted) as messages:
        await heard(messages)
        await two.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        methods = {(await heard(messages))["method"] for _ in range(2)}
    assert methods == {"notifications/tools/list_changed", "notifications/resources/updated"}


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"mcp-method": "tools/list"}, -32020, 400),
        ({"mcp-protocol-version": "2027-01-01"}, -32020, 400),
        ({"accept": "application/json"}, -32600, 406),
    ],
)
async def test_a_listen_request_is_checked_like_every_other(
    start: Start, change: dict[str, str], code: int, status: int
) -> None:
    workers = await start(1, memory=True)
    sent = message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    answer = await workers.http.post(workers.a.url, json=sent, headers={**headers(sent), **change})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_listen_request_without_a_filter_is_invalid(start: Start) -> None:
    workers = await start(1, memory=True)
    sent = message("subscriptions/listen", {})
    answer = await workers.http.post(workers.a.url, json=sent, headers=headers(sent))
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (400, -32602, 1)


@pytest.mark.parametrize(
    "odd", ["text", [], 5, None, {"extensions": 5}, {"extensions": ["io.modelcontextprotocol/tasks"]}, {"sampling": 3}]
)
async def test_odd_client_capabilities_are_refused_at_a_listen_stream_as_elsewhere(start: Start, odd: Any) -> None:
    workers = await start(1, memory=True)
    meta = {"io.modelcontextprotocol/clientCapabilities": odd}
    for wanted in ({"taskIds": ["a" * 32]}, {"toolsListChanged": True}):
        sent = message("subscriptions/listen", {"notifications": wanted}, 1, **meta)
        async with asyncio.timeout(60):
            answer = await workers.http.post(workers.a.url, json=sent, headers=headers(sent))
        assert (answer.status_code, answer.json()["error"]["code"], answer.json()["id"]) == (400, -32602, 1)


async def test_a_listen_stream_follows_what_there_is_and_no_more_than_a_session_may(start: Start) -> None:
    workers = await start(1, memory=True)
    there = "test://static/resource/1"
    async with listening(workers, workers.a, {"resourceSubscriptions": [there, "nowhere://1"]}) as messages:
        assert (await heard(messages))["params"]["notifications"] == {"resourceSubscriptions": [there]}
    many = [f"test://static/resource/{number}" for number in range(1001)]
    sent = message("subscriptions/listen", {"notifications": {"resourceSubscriptions": many}})
    async with asyncio.timeout(60):
        answer = await workers.http.post(workers.a.url, json=sent, headers=headers(sent))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert "1000" in answer.json()["error"]["message"]
