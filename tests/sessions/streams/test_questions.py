"""Questions to the client of a running request: answered, refused, withdrawn, through any worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.sessions.conftest import Workers
from tests.sessions.streams.calls import answer, cancelled
from tools.messages import call


@pytest.mark.parametrize(
    ("tool", "method", "result"),
    [
        ("sampleLLM", "sampling/createMessage", {"role": "assistant", "model": "m", "content": {}}),
        ("elicitInputs", "elicitation/create", {"action": "accept", "content": {"name": "Ada"}}),
        ("listRoots", "roots/list", {"roots": [{"uri": "file:///tmp"}]}),
    ],
)
async def test_a_question_to_the_client_is_answered_through_the_other_worker(
    workers: Workers, tool: str, method: str, result: dict[str, Any]
) -> None:
    if tool == "sampleLLM":
        result = {**result, "content": {"type": "text", "text": "Paris"}}
    session = await workers.open()
    async with session.stream(workers.a, call(tool, {"prompt": "x"} if tool == "sampleLLM" else {})) as events:
        question = (await events.message()).message
        assert question["method"] == method
        assert (await session.post(workers.b, answer(question, result))).status_code == 202
        final = (await events.message()).message
    assert "isError" not in final["result"] or final["result"]["isError"] is False


async def test_a_question_can_be_answered_for_as_long_as_it_is_asked(two: Workers) -> None:
    """The place for its answer would end with one life of the session; whoever waits for the answer renews it."""
    session = await two.open()
    async with session.stream(two.a, call("elicitInputs")) as events:
        question = (await events.message()).message
        place = two.state.keys.inbox(session.id, question["id"])
        await two.redis.pexpire(place, 60_000)
        await two.state.pubsub.publish(two.state.keys.to_server(session.id), "1")
        async with asyncio.timeout(60):
            while await two.redis.pttl(place) <= 60_000:
                await asyncio.sleep(0.01)
        await session.post(two.b, answer(question, {"action": "accept", "content": {"name": "Ada"}}))
        assert "Ada" in json.dumps((await events.message()).message)


async def test_an_answer_counts_once(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("elicitInputs")) as events:
        question = (await events.message()).message
        for name in ("first", "second"):
            await session.post(workers.b, answer(question, {"action": "accept", "content": {"name": name}}))
        final = (await events.message()).message
    assert "first" in json.dumps(final)
    assert "second" not in json.dumps(final)


async def test_an_error_from_the_client_becomes_a_tool_error(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("listRoots")) as events:
        question = (await events.message()).message
        refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no roots today"}}
        await session.post(workers.b, refusal)
        final = (await events.message()).message
    assert final["result"]["isError"] is True
    assert "no roots today" in final["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("tool", "capability"), [("sampleLLM", "sampling"), ("elicitInputs", "elicitation"), ("listRoots", "roots")]
)
async def test_a_client_without_the_capability_gets_an_error_that_names_it(
    workers: Workers, tool: str, capability: str
) -> None:
    session = await workers.open(capabilities={})
    result = await session.call(workers.b, tool, {"prompt": "x"} if tool == "sampleLLM" else {})
    assert result["isError"] is True
    assert capability in result["content"][0]["text"]


async def test_a_question_that_is_no_longer_asked_is_withdrawn(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("elicitInputs", id=4)) as events:
        question = (await events.message()).message
        await session.post(workers.b, cancelled(4))
        [withdrawn] = [e.message for e in await events.rest()]
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]
