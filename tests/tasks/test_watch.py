"""What a listen stream tells of tasks."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import SubscriptionFilter

from switchboard.identity import Caller, Principal, serving
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.streams.listen import ListenStream
from switchboard.state import State

ABLE: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


async def listening(state: State, desk: Any, wanted: list[str]) -> Any:
    """The messages of a listen stream on one worker, one by one."""
    alice = Principal("https://issuer", "alice", "client", frozenset({"mcp"}))
    with serving(Caller(alice)):
        watch = await desk.tasks.watch(wanted, ABLE)
    stream = ListenStream(7, SubscriptionFilter(), server_info={}, expires_at=None, watch=watch)
    return stream.events(RedisBus(state), nullcontext())


async def said(events: Any) -> dict[str, Any]:
    """The next message."""
    async with asyncio.timeout(60):
        while True:
            chunk: bytes = await anext(events)
            if chunk.startswith(b"event:"):
                message: dict[str, Any] = json.loads(chunk.split(b"data: ", 1)[1])
                return message


async def test_a_stream_on_another_worker_tells_each_status_with_the_whole_task(opening: Any, state: State) -> None:
    a, b = await opening(), await opening()
    task = (await a.call("question"))["taskId"]
    events = await listening(state, b, [task, "t" * 20])
    acknowledged = await said(events)
    assert acknowledged["params"]["notifications"] == {"taskIds": [task]}
    asked = await said(events)
    assert asked["method"] == "notifications/tasks"
    assert asked["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 7}
    if asked["params"]["status"] == "working":
        asked = await said(events)
    [key] = asked["params"]["inputRequests"]
    await b.update(task, {key: {"action": "accept", "content": {"name": "Ada"}}})
    last: dict[str, Any] = {}
    while last.get("status") != "completed":
        last = (await said(events))["params"]
    assert last["result"]["content"][0]["text"] == "Hello, Ada!"
    assert last.keys() - {"_meta"} == (await a.get(task)).keys() - {"_meta", "resultType"}
    await events.aclose()


async def test_a_client_that_knows_no_tasks_may_not_follow_them(opening: Any) -> None:
    a = await opening()
    with pytest.raises(MCPError) as refused:
        await a.tasks.watch(["t" * 20], {})
    assert refused.value.error.code == -32021


async def test_nothing_is_told_of_other_peoples_tasks(opening: Any, bob: Any) -> None:
    a = await opening()
    task = (await a.call("hold"))["taskId"]
    with serving(Caller(bob)):
        watch = await a.tasks.watch([task], ABLE)
    assert watch.ids == ()
    assert await watch.notice(task) is None
