"""Tasks while Redis takes no writes: what they say waits, and no task ends of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from switchboard.state import State

pytestmark = pytest.mark.parametrize("state", ["redis"], indirect=True)

MOMENT_S = 0.8
"""Longer than it takes to try, and to try again."""


@asynccontextmanager
async def full(state: State) -> AsyncIterator[None]:
    """Redis refuses every write that needs memory; it still tells what it holds."""
    await state.redis.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await state.redis.config_set("maxmemory", "0")


async def test_a_task_that_reports_progress_while_redis_takes_no_writes_goes_on(
    opening: Any, state: State, gates: Any
) -> None:
    a = await opening()
    task = (await a.call("report"))["taskId"]
    async with full(state):
        gates.release.set()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                await a.become(task, "completed", "failed")
    done = await a.become(task, "completed", "failed")
    assert done["result"]["content"][0]["text"] == "reported"
    assert not done["result"].get("isError")


async def test_a_question_of_a_task_waits_until_redis_takes_writes(opening: Any, state: State, gates: Any) -> None:
    a = await opening()
    task = (await a.call("late_question"))["taskId"]
    async with full(state):
        gates.release.set()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                await a.become(task, "completed", "failed")
    [key] = (await a.become(task, "input_required"))["inputRequests"]
    await a.update(task, {key: {"action": "accept", "content": {"name": "Ada"}}})
    assert (await a.become(task, "completed"))["result"]["content"][0]["text"] == "Hello, Ada!"


async def test_how_a_task_ended_is_stored_once_redis_takes_writes_again(opening: Any, state: State, gates: Any) -> None:
    a = await opening()
    task = (await a.call("hold"))["taskId"]
    async with full(state):
        gates.release.set()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                await a.become(task, "completed", "failed")
    assert (await a.become(task, "completed", "failed"))["result"]["content"][0]["text"] == "released"


async def test_a_call_that_cannot_be_kept_as_a_task_is_answered_itself(opening: Any, state: State, gates: Any) -> None:
    a = await opening()
    async with full(state):
        calling = asyncio.create_task(a.call("hold"))
        done, _ = await asyncio.wait([calling], timeout=0.5 + MOMENT_S)
        assert not done
        gates.release.set()
        async with asyncio.timeout(60):
            result = await calling
    assert result["content"][0]["text"] == "released"
    assert "taskId" not in result


async def test_a_call_becomes_a_task_once_redis_takes_writes_again(opening: Any, state: State, gates: Any) -> None:
    a = await opening()
    async with full(state):
        calling = asyncio.create_task(a.call("hold"))
        done, _ = await asyncio.wait([calling], timeout=0.5 + MOMENT_S)
        assert not done
    async with asyncio.timeout(60):
        task = (await calling)["taskId"]
    gates.release.set()
    assert (await a.become(task, "completed"))["result"]["content"][0]["text"] == "released"


async def test_a_handler_that_ends_while_its_call_is_made_a_task_completes_the_task(
    opening: Any, state: State, gates: Any
) -> None:
    a = await opening()
    await state.redis.client_pause(60_000, all=False)  # writes wait
    calling = asyncio.create_task(a.call("hold"))
    async with asyncio.timeout(60):
        while not (await state.redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.02)
        gates.release.set()
        await gates.left.wait()
        await state.redis.client_unpause()
        task = (await calling)["taskId"]
    assert (await a.become(task, "completed"))["result"]["content"][0]["text"] == "released"


async def test_a_task_that_works_asks_redis_now_and_then_only(opening: Any, state: State) -> None:
    a = await opening()
    await a.call("hold")
    before = await looks(state)
    await asyncio.sleep(MOMENT_S)
    assert await looks(state) - before < 10


async def looks(state: State) -> int:
    """How often Redis was asked for a member of a hash so far."""
    stats: Any = await state.redis.info("commandstats")
    count: int = stats.get("cmdstat_hget", {"calls": 0})["calls"]
    return count
