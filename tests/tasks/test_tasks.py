"""A call that becomes a task: found, answered, cancelled and ended through whichever worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from switchboard.state import State

MISSING_CAPABILITY = -32021
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020


def named(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


async def test_a_call_that_is_done_at_once_is_answered_like_any_other(opening: Any) -> None:
    a = await opening()
    result = await a.call("quick")
    assert result["resultType"] == "complete"
    assert result["content"][0]["text"] == "at once"
    assert "taskId" not in result


async def test_a_call_that_takes_long_becomes_a_task_that_every_worker_knows(opening: Any, gates: Any) -> None:
    a, b = await opening(), await opening()
    made = await a.call("hold")
    assert made["resultType"] == "task"
    assert made["status"] == "working"
    assert isinstance(made["ttlMs"], int)
    found = await b.get(made["taskId"])
    assert found == {**made, "resultType": "complete"}
    gates.release.set()
    done = await b.become(made["taskId"], "completed")
    assert done["result"]["content"][0]["text"] == "released"
    assert done["resultType"] == "complete"


async def test_a_tool_error_completes_a_task_and_a_protocol_error_fails_it(opening: Any, gates: Any) -> None:
    a, b = await opening(), await opening()
    refused, crashed = await a.call("refuse"), await a.call("crash")
    gates.release.set()
    assert (await b.become(refused["taskId"], "completed", "failed"))["result"]["isError"] is True
    failed = await b.become(crashed["taskId"], "completed", "failed")
    assert failed["error"] == {"code": -32050, "message": "crashed"}
    assert failed["statusMessage"] == "crashed"
    assert "result" not in failed


async def test_a_client_that_leaves_before_its_call_is_a_task_ends_the_handler(opening: Any, gates: Any) -> None:
    a = await opening()
    calling = asyncio.create_task(a.call("hold"))
    async with asyncio.timeout(60):
        await gates.entered.wait()
        calling.cancel()
        await gates.cancelled.wait()


async def test_a_task_is_cancelled_through_another_worker_and_its_handler_hears_of_it(opening: Any, gates: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("hold"))["taskId"]
    acknowledged = (await b.request("tasks/cancel", {"taskId": task}))["result"]
    assert acknowledged.keys() == {"resultType", "_meta"}
    assert (await a.get(task))["status"] == "cancelled"
    await gates.cancelled.wait()
    again = (await b.request("tasks/cancel", {"taskId": task}))["result"]
    assert again["resultType"] == "complete"
    gates.release.set()
    assert (await b.get(task))["status"] == "cancelled"


async def test_a_question_is_answered_through_another_worker(opening: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("question"))["taskId"]
    asked = await b.become(task, "input_required")
    [(key, question)] = asked["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    assert question["params"]["message"] == "What is the first name?"
    assert (await b.update(task, {key: named("Ada")}))["result"]["resultType"] == "complete"
    assert (await b.become(task, "completed"))["result"]["content"][0]["text"] == "Hello, Ada!"


async def test_questions_are_answered_one_by_one_and_an_answered_one_is_not_asked_again(opening: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("both"))["taskId"]
    asked: dict[str, Any] = {}
    while len(asked) < 2:
        asked = (await b.become(task, "input_required"))["inputRequests"]
    first, second = sorted(asked, key=lambda key: asked[key]["params"]["message"])
    await b.update(task, {first: named("Ada")})
    left = await a.get(task)
    assert left["status"] == "input_required"
    assert list(left["inputRequests"]) == [second]
    await a.update(task, {first: named("Eve"), "never-asked": {"x": 1}, second: named("Grace")})
    assert (await b.become(task, "completed"))["result"]["content"][0]["text"] == "Ada and Grace"


async def test_a_question_that_timed_out_is_withdrawn_and_the_task_works_on(opening: Any, gates: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("impatient"))["taskId"]
    await gates.entered.wait()
    found = await b.get(task)
    assert found["status"] == "working"
    assert "inputRequests" not in found
    await b.update(task, {"elicitation-1": named("Ada")})
    gates.release.set()
    assert "Timed out" in (await b.become(task, "completed"))["result"]["content"][0]["text"]


async def test_a_task_that_ends_leaves_neither_questions_nor_answers_behind(opening: Any, state: State) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("both"))["taskId"]
    asked: dict[str, Any] = {}
    while len(asked) < 2:
        asked = (await b.become(task, "input_required"))["inputRequests"]
    beside = [state.keys.task_asks(task), state.keys.task_answers(task)]
    await b.update(task, {min(asked): named("Ada")})
    assert await state.redis.exists(*beside) == 2
    await b.request("tasks/cancel", {"taskId": task})
    assert await state.redis.exists(*beside) == 0


async def test_an_answer_of_the_wrong_shape_is_refused_and_the_question_stays_open(opening: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("question"))["taskId"]
    [key] = (await b.become(task, "input_required"))["inputRequests"]
    assert (await b.update(task, {key: {"roots": "none"}}))["error"]["code"] == INVALID_PARAMS
    assert list((await a.get(task))["inputRequests"]) == [key]


async def test_a_handler_that_ends_a_round_with_questions_after_it_became_a_task_asks_through_the_task(
    opening: Any, gates: Any
) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("late_round"))["taskId"]
    gates.release.set()
    [key] = (await b.become(task, "input_required"))["inputRequests"]
    await b.update(task, {key: named("Ada")})
    assert (await b.become(task, "completed"))["result"]["content"][0]["text"] == "Ada after round 1"


async def test_a_client_that_knows_no_tasks_gets_plain_results_or_the_error_of_the_specification(
    opening: Any, gates: Any
) -> None:
    a = await opening()
    gates.release.set()
    assert (await a.call("hold", capabilities={}))["content"][0]["text"] == "released"
    needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
    for method, params in (
        ("tools/call", {"name": "must", "arguments": {}}),
        ("tasks/get", {"taskId": "t" * 20}),
        ("tasks/update", {"taskId": "t" * 20, "inputResponses": {}}),
        ("tasks/cancel", {"taskId": "t" * 20}),
    ):
        error = (await a.request(method, params, capabilities={}))["error"]
        assert (error["code"], error["data"]) == (MISSING_CAPABILITY, needed), method


@pytest.mark.parametrize("task", ["t" * 20, "short", "{}" * 12, "x" * 5000])
async def test_an_unknown_task_is_an_error_for_every_method(opening: Any, task: str) -> None:
    a = await opening()
    assert (await a.request("tasks/get", {"taskId": task}))["error"]["code"] == INVALID_PARAMS
    assert (await a.request("tasks/cancel", {"taskId": task}))["error"]["code"] == INVALID_PARAMS
    assert (await a.update(task, {}))["error"]["code"] == INVALID_PARAMS


async def test_nobody_but_its_owner_learns_that_a_task_exists(opening: Any, bob: Any) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("hold"))["taskId"]
    foreign = (await b.request("tasks/get", {"taskId": task}, principal=bob))["error"]
    unknown = (await b.request("tasks/get", {"taskId": "t" * 20}, principal=bob))["error"]
    assert foreign == unknown
    await b.request("tasks/cancel", {"taskId": task}, principal=bob)
    assert (await b.get(task))["status"] == "working"


async def test_the_routing_header_must_name_the_task(opening: Any) -> None:
    a = await opening()
    task = (await a.call("hold"))["taskId"]
    for name in ("something-else", ""):
        refused = await a.request("tasks/get", {"taskId": task}, mcp_name=name)
        assert refused["error"]["code"] == HEADER_MISMATCH


async def test_removed_methods_are_not_found(opening: Any) -> None:
    a = await opening()
    for method in ("tasks/result", "tasks/list"):
        assert (await a.request(method, {"taskId": "t" * 20}))["error"]["code"] == -32601


async def test_the_extension_is_advertised(opening: Any) -> None:
    a = await opening()
    discovered = (await a.request("server/discover", {}))["result"]["capabilities"]
    assert discovered["extensions"]["io.modelcontextprotocol/tasks"] == {}
    assert "tasks" not in discovered


async def test_there_is_room_for_so_many_tasks_of_one_principal_and_for_others_still(opening: Any, bob: Any) -> None:
    a = await opening(max_per_principal=2)
    assert [(await a.call("hold"))["resultType"] for _ in range(2)] == ["task", "task"]
    refused = (await a.request("tools/call", {"name": "hold", "arguments": {}}))["error"]
    assert refused["data"]["reason"] == "too_many_tasks"
    assert (await a.call("hold", principal=bob))["resultType"] == "task"


async def test_a_task_that_asks_when_there_is_no_room_is_refused_too(opening: Any) -> None:
    a = await opening(max_running=0)
    result = await a.request("tools/call", {"name": "question", "arguments": {}})
    assert result["error"]["data"]["reason"] == "too_many_tasks"


async def test_a_task_that_takes_longer_than_it_may_fails_and_says_so(opening: Any, gates: Any) -> None:
    a, b = await opening(ttl=0.8), await opening()
    made = await a.call("hold")
    assert made["ttlMs"] == 800
    failed = await b.become(made["taskId"], "failed")
    assert failed["error"]["data"] == {"reason": "out_of_time", "retry": False}
    assert gates.cancelled.is_set()


async def test_only_calls_of_the_modern_era_become_tasks(opening: Any, gates: Any) -> None:
    a = await opening()
    gates.release.set()
    answer = await a.request("prompts/get", {"name": "must"}, capabilities={})
    assert answer["error"]["code"] != MISSING_CAPABILITY
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "must", "arguments": {}}}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    answer = (await a.http.post("http://localhost/mcp", json=call, headers=headers)).json()
    assert answer["result"]["content"][0]["text"] == "released"
