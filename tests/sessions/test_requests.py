"""Handshake requests: any worker serves any request, as JSON while the answer is short."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sessions.conftest import Start, Workers


async def test_a_session_opened_on_one_worker_is_served_by_the_other(workers: Workers) -> None:
    session = await workers.open()
    for id in range(1, 5):
        result = await session.call(workers.next(), "echo", {"message": f"hello {id}"}, id)
        assert result["content"][0]["text"] == f"Echo: hello {id}"


async def test_the_handshake_declares_what_the_gateway_offers(workers: Workers) -> None:
    session = await workers.open()
    capabilities = session.opened["capabilities"]
    assert capabilities["tools"]["listChanged"] is True
    assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
    assert capabilities["prompts"]["listChanged"] is True
    assert "logging" in capabilities
    assert "completions" in capabilities
    assert session.opened["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("asked", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_handshake_revision_is_spoken(workers: Workers, asked: str) -> None:
    session = await workers.open(asked)
    assert session.opened["protocolVersion"] == asked
    assert (await session.call(workers.b, "echo", {"message": "x"}))["content"][0]["text"] == "Echo: x"


async def test_an_unknown_revision_is_answered_with_the_newest_handshake_one(workers: Workers) -> None:
    params = {"protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    headers = {"accept": "application/json, text/event-stream"}
    answer = await workers.http.post(workers.a.url, json=message, headers=headers)
    assert answer.json()["result"]["protocolVersion"] == "2025-11-25"


async def test_whoami_names_the_session_and_the_worker_that_served_it(two: Workers) -> None:
    session = await two.open()
    seen = {(await session.call(two.next(), "whoami"))["structuredContent"]["worker"] for _ in range(4)}
    assert len(seen) == 2
    mine = (await session.call(two.a, "whoami"))["structuredContent"]
    assert mine["session"] == session.id
    assert mine["state"] == "redis"


async def test_an_unknown_tool_is_a_protocol_error_and_a_wrong_argument_a_tool_error(workers: Workers) -> None:
    session = await workers.open()
    unknown = (await session.post(workers.b, _call("no_such_tool"))).json()
    assert unknown["error"]["code"] == -32602
    assert "no_such_tool" in unknown["error"]["message"]
    wrong = await session.call(workers.b, "add", {"a": "one", "b": 2})
    assert wrong["isError"] is True
    assert "a" in wrong["content"][0]["text"]


async def test_deleting_a_session_ends_it_on_every_worker(workers: Workers) -> None:
    session = await workers.open()
    assert (await workers.http.delete(workers.b.url, headers=session.headers)).status_code == 204
    for worker in workers.every:
        assert (await session.post(worker, _call("echo", {"message": "x"}))).status_code == 404
        assert (await workers.http.get(worker.url, headers=session.headers)).status_code == 404
        assert (await workers.http.delete(worker.url, headers=session.headers)).status_code == 404


async def test_nothing_of_a_deleted_session_is_left(two: Workers) -> None:
    session = await two.open()
    await session.post(two.a, _subscribe("test://static/resource/1"))
    async with session.stream(two.b, _call("longRunningOperation", {"duration": 0.1, "steps": 2}, progress=1)) as s:
        await s.rest()
    await two.http.delete(two.a.url, headers=session.headers)
    await session.post(two.b, _subscribe("test://static/resource/3"))
    left = [key async for key in two.redis.scan_iter(f"session:*{session.id}*")]
    assert left == []


async def test_a_session_expires_when_nobody_uses_it(start: Start) -> None:
    workers = await start(session_ttl=100)
    session = await workers.open()
    key = workers.state.keys.session(session.id)
    assert 0 < await workers.redis.pttl(key) <= 110_000  # the tenth in which its life is slid once, on top
    await workers.redis.pexpire(key, 1)
    while await workers.redis.exists(key):
        await asyncio.sleep(0.005)
    assert (await session.post(workers.b, _call("echo", {"message": "x"}))).status_code == 404


async def test_initializing_again_with_the_same_id_keeps_the_id_and_settles_anew(workers: Workers) -> None:
    session = await workers.open("2025-06-18")
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": params}
    headers = {"accept": "application/json, text/event-stream", "mcp-session-id": session.id}
    answer = await workers.http.post(workers.b.url, json=message, headers=headers)
    assert answer.headers["mcp-session-id"] == session.id
    session.protocol = "2025-11-25"
    assert (await session.call(workers.a, "echo", {"message": "x"}))["content"][0]["text"] == "Echo: x"


async def test_a_record_of_the_next_or_previous_format_is_served_and_one_further_off_is_not(two: Workers) -> None:
    session = await two.open()
    key = two.state.keys.session(session.id)
    statuses = []
    for version in ("0", "1", "2", "3"):
        await two.redis.hset(key, "v", version)
        statuses.append((await session.post(two.b, _call("echo", {"message": "x"}))).status_code)
    assert statuses == [200, 200, 200, 404]


async def test_a_notification_is_accepted_without_a_body(workers: Workers) -> None:
    session = await workers.open()
    answer = await session.post(workers.b, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
    assert (answer.status_code, answer.content) == (202, b"")


async def test_a_late_answer_to_a_question_nobody_asks_any_more_is_accepted_and_dropped(workers: Workers) -> None:
    session = await workers.open()
    answer = await session.post(workers.b, {"jsonrpc": "2.0", "id": "w0-gone", "result": {}})
    assert answer.status_code == 202


async def test_an_idle_session_holds_no_subscription_and_no_task(two: Workers) -> None:
    before = len(asyncio.all_tasks())
    channels = len(await two.redis.pubsub_channels("*"))
    for _ in range(20):
        session = await two.open()
        await session.call(two.next(), "echo", {"message": "x"})
    assert len(await two.redis.pubsub_channels("*")) == channels
    assert len(asyncio.all_tasks()) <= before + 4  # the client's own kept-alive connections


def _call(tool: str, arguments: dict[str, Any] | None = None, progress: int | None = None) -> dict[str, Any]:
    params: dict[str, Any] = {"name": tool, "arguments": arguments or {}}
    if progress is not None:
        params["_meta"] = {"progressToken": progress}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _subscribe(uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 5, "method": "resources/subscribe", "params": {"uri": uri}}
