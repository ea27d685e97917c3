"""Workers that leave, and what becomes of their tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from switchboard.state import State
from switchboard.tasks import Tasks
from switchboard.tasks.record import Record, now
from switchboard.tasks.store import Store


async def test_a_task_whose_worker_died_is_found_failed_and_says_so(opening: Any, state: State) -> None:
    a = await opening()
    store: Store = a.tasks.store
    owner = '["https://issuer","alice","client"]'
    task = "t" * 20
    await store.create(Record(task, owner, "w-dead", "working", now(), now(), 60_000))
    await store.ask(task, "elicitation-1", {"method": "elicitation/create"}, worker="w-dead")
    failed = await a.get(task)
    assert failed["status"] == "failed"
    assert failed["error"]["data"] == {"reason": "worker_lost", "retry": False}
    assert "lost" in failed["statusMessage"]
    assert await store.end(task, "completed", {}, worker="w-dead") == "ended"
    assert (await a.get(task)) == failed


async def test_a_task_belongs_to_the_worker_that_runs_it(opening: Any) -> None:
    a = await opening()
    task = (await a.call("hold"))["taskId"]
    assert await a.tasks.store.end(task, "completed", {}, worker="w-other") == "fenced"
    assert (await a.get(task))["status"] == "working"


async def test_a_worker_that_leaves_ends_its_tasks_and_says_so(
    opening: Any, closing_desk: Callable[..., Any], gates: Any
) -> None:
    b = await opening()
    async with closing_desk() as a:
        task = (await a.call("hold"))["taskId"]
    assert gates.cancelled.is_set()
    failed = await b.get(task)
    assert failed["status"] == "failed"
    assert failed["error"]["data"]["reason"] == "worker_stopped"


async def test_a_worker_that_leaves_lets_its_tasks_finish_in_the_time_they_have(
    opening: Any, closing_desk: Callable[..., Any], gates: Any
) -> None:
    b = await opening()
    async with asyncio.TaskGroup() as tasks, closing_desk() as a:
        task = (await a.call("hold"))["taskId"]
        a.tasks.drain(60)
        tasks.create_task(_release_once_it_leaves(a.tasks, gates))
    assert not gates.cancelled.is_set()
    assert (await b.get(task))["status"] == "completed"


async def test_tasks_that_cannot_finish_in_time_end_as_failed(
    opening: Any, closing_desk: Callable[..., Any], gates: Any
) -> None:
    b = await opening()
    async with closing_desk() as a:
        task = (await a.call("hold"))["taskId"]
        a.tasks.drain(0.05)
        a.tasks.drain(60)
    assert gates.cancelled.is_set()
    assert (await b.get(task))["error"]["data"]["reason"] == "worker_stopped"


async def test_a_task_is_kept_for_its_time_to_live_and_then_forgotten(opening: Any, state: State, gates: Any) -> None:
    a = await opening(ttl=5)
    task = (await a.call("hold"))["taskId"]
    gates.release.set()
    await a.become(task, "completed")
    left = await state.redis.pttl(state.keys.task(task))
    assert 5_000 < left <= 65_000
    await state.redis.pexpire(state.keys.task(task), 0)
    assert (await a.request("tasks/get", {"taskId": task}))["error"]["code"] == -32602


async def _release_once_it_leaves(tasks: Tasks, gates: Any) -> None:
    while tasks.serving:
        await asyncio.sleep(0.01)
    gates.release.set()
