"""Calls of tools through the API: as whoever asks, by the rules of the MCP endpoint, on whichever worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from switchboard.admin import idempotency
from tests.admin.conftest import Fleet, api
from tests.admin.test_audit_of_calls import ME, noted
from tests.admin.test_fleet import signing_in, token
from tests.sessions.conftest import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = {"Accept": "text/event-stream"}
LONG = "longRunningOperation"
WORK = {"arguments": {"duration": 30, "steps": 100}}


async def events(answer: httpx2.Response) -> AsyncIterator[tuple[str, Any]]:
    """Events by name, as they come."""
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def the_stream(fleet: Fleet) -> Any:
    """The only one, as the other worker tells of it."""
    page = (await fleet.b.get("/streams")).json()
    assert len(page["items"]) == 1, page
    return page["items"][0]


async def test_a_tool_is_called_with_arguments_and_answers_as_in_mcp(shared_fleet: Fleet) -> None:
    answer = await shared_fleet.b.post("/tools/echo/call", json={"arguments": {"message": "héllo"}})
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "completed"
    assert answer.json()["result"]["content"] == [{"type": "text", "text": "Echo: héllo"}]


async def test_a_tool_that_refuses_its_arguments_has_failed(shared_fleet: Fleet) -> None:
    answer = (await shared_fleet.b.post("/tools/add/call", json={"arguments": {"a": "one"}})).json()
    assert answer["outcome"] == "failed"
    assert "a must be a number; b is missing" in answer["result"]["content"][0]["text"]


async def test_an_argument_that_is_a_header_too_is_sent_as_one(shared_fleet: Fleet) -> None:
    answer = await shared_fleet.a.post("/tools/headerParameter/call", json={"arguments": {"region": "Zürich"}})
    assert "Zürich" in json.dumps(answer.json()["result"], ensure_ascii=False)


async def test_progress_comes_as_events_and_the_outcome_is_the_last(shared_fleet: Fleet) -> None:
    work = {"arguments": {"duration": 0.05, "steps": 2}}
    async with shared_fleet.a.stream("POST", f"/tools/{LONG}/call", json=work, headers=EVENTS) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        seen = [each async for each in events(answer)]
    assert [name for name, _ in seen] == ["progress", "progress", "outcome"]
    assert seen[0][1] == {"progress": 1, "total": 2, "message": "Step 1 of 2"}
    assert seen[-1][1]["outcome"] == "completed"


async def test_a_question_is_answered_through_another_worker(shared_fleet: Fleet) -> None:
    first = (await shared_fleet.a.post("/tools/elicitInputs/call", json={})).json()
    assert first["outcome"] == "input_required"
    ((key, question),) = first["result"]["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    answers = {key: {"action": "accept", "content": {"name": "Ada"}}}
    again = {"answers": answers, "state": first["result"]["requestState"]}
    second = (await shared_fleet.b.post("/tools/elicitInputs/call", json=again)).json()
    assert second["outcome"] == "completed"
    assert "Ada" in json.dumps(second["result"]["content"])
    forged = await shared_fleet.b.post("/tools/elicitInputs/call", json={**again, "state": again["state"] + "x"})
    assert (forged.status_code, forged.headers["content-type"]) == (422, "application/problem+json")


async def test_a_question_is_told_as_an_event_too(shared_fleet: Fleet) -> None:
    answer = await shared_fleet.a.post("/tools/elicitInputs/call", json={}, headers=EVENTS)
    assert [(name, data["outcome"]) async for name, data in events(answer)] == [("outcome", "input_required")]


@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("tool", "sent", "status", "said"),
    [
        ("none", {}, 404, "there is no tool 'none'"),
        ("echo", {"argument": {}}, 422, "the request is not as this route takes it"),
        ("echo?preset=few", {}, 404, "there is no tool 'echo'"),
        ("echo?preset=nowhere", {}, 404, "nowhere"),
        ("echo", {"state": "x"}, 422, "Invalid or expired requestState"),
    ],
)
async def test_what_cannot_be_called_is_a_problem_that_says_why(
    shared_fleet: Fleet, tool: str, sent: Any, status: int, said: str, headers: dict[str, str]
) -> None:
    name, _, query = tool.partition("?")
    answer = await shared_fleet.a.post(f"/tools/{name}/call?{query}", json=sent, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]


async def test_a_call_with_an_idempotency_key_is_made_once_though_its_client_left(shared_fleet: Fleet) -> None:
    key, work = {"Idempotency-Key": "a call"}, {"arguments": {"duration": 0.5, "steps": 2}}
    path = f"/tools/{LONG}/call"
    async with shared_fleet.a.stream("POST", path, json=work, headers={**key, **EVENTS}) as answer:
        assert (await anext(events(answer)))[0] == "progress"
    state = shared_fleet.workers[0].app.rooms.state
    async with asyncio.timeout(30):
        while (again := await shared_fleet.b.post(path, json=work, headers={**key, **EVENTS})).status_code == 409:
            assert "is still being served" in again.json()["detail"]
    assert [name async for name, _ in events(again)] == ["progress", "progress", "outcome"]
    assert (await shared_fleet.b.post(path, json={}, headers=key)).status_code == 422
    assert [key async for key in state.redis.scan_iter(match="*api:idempotency:*")] != []


async def test_the_key_of_a_call_that_lasts_is_held_until_it_ends(
    shared_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RUNNING_S", 1)
    key, work = {"Idempotency-Key": "a long call"}, {"arguments": {"duration": 3, "steps": 3}}
    path = f"/tools/{LONG}/call"
    state = shared_fleet.workers[0].app.rooms.state
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(shared_fleet.a.post(path, json=work, headers={**key, **EVENTS}))
        lives: list[int] = []
        async with asyncio.timeout(60):
            while len(lives) < 3 or lives[-1] <= lives[-2]:  # its life is longer than it was: it was renewed
                found = [each async for each in state.redis.scan_iter(match="*api:idempotency:*")]
                lives += [life for each in found if 0 < (life := int(await state.redis.pttl(each))) <= 1000]
        again = await shared_fleet.b.post(path, json=work, headers={**key, **EVENTS})
        assert again.status_code == 409
        assert (await first).text == (await shared_fleet.b.post(path, json=work, headers={**key, **EVENTS})).text


async def test_a_call_needs_what_the_persons_own_client_would_need(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text("plugins:\n  everything: {enabled: true, tools: {add: {scopes: [sums]}}}\n")
    async with signing_in(redis_url, config_file=file) as worker:
        reads, writes = await token(worker, "admin", "admin:read"), await token(worker, "admin", "admin")

        async def called(tool: str, held: str, **sent: Any) -> httpx2.Response:
            async with api(worker, headers={"Authorization": f"Bearer {held}"}) as http:
                return await http.post(f"/tools/{tool}/call", json=sent)

        assert (await called("whoami", reads)).status_code == 403
        who = (await called("whoami", writes)).json()["result"]["structuredContent"]
        assert who["subject"] == "admin"
        refused = await called("add", writes, arguments={"a": 1, "b": 2})
        assert refused.status_code == 403
        assert 'scope="mcp:tools sums"' in refused.headers["www-authenticate"]
        assert refused.json()["status"] == 403


async def test_a_call_is_in_the_audit_log_as_one_of_an_mcp_client(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text("plugins: {everything: {enabled: true, audit: all}}\n")
    async with serving(redis_url, config_file=file) as worker, api(worker) as http:
        await http.post("/tools/echo/call", json={"arguments": {"message": "s3cr3t"}})
        (found,) = await noted(worker)
    assert (found["event"], found["what"], found["who"]) == ("tool.called", "echo", ME)
    assert "s3cr3t" not in json.dumps(found)


async def test_a_call_whose_events_nobody_reads_any_more_is_cancelled(shared_fleet: Fleet) -> None:
    async with shared_fleet.a.stream("POST", f"/tools/{LONG}/call", json=WORK, headers=EVENTS) as answer:
        seen = events(answer)
        assert (await anext(seen))[0] == "progress"
        found = await the_stream(shared_fleet)
        assert (found["kind"], found["era"], found["worker"]) == ("reply", "modern", shared_fleet.id(0))
    async with asyncio.timeout(30):
        while (await shared_fleet.b.get("/streams")).json()["items"]:
            pass


async def test_a_call_whose_stream_is_ended_says_that_it_may_have_had_effects(shared_fleet: Fleet) -> None:
    async with shared_fleet.a.stream("POST", f"/tools/{LONG}/call", json=WORK, headers=EVENTS) as answer:
        seen = events(answer)
        await anext(seen)
        found = await the_stream(shared_fleet)
        assert (await shared_fleet.b.delete(f"/streams/{found['id']}")).status_code == 204
        last = [each async for each in seen][-1]
    assert (last[0], last[1]["status"]) == ("problem", 502)
    assert "may have had effects" in last[1]["detail"]
