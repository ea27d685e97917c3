from __future__ import annotations

import json
from typing import Any

import pytest

from switchboard.tasks.record import Record, now
from tests.admin.conftest import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER = json.dumps(["https://issuer", "alice", "client"])


async def create(fleet: Fleet, name: str, **changed: Any) -> str:
    task = f"{name:-<16}"
    known = {"owner": OWNER, "worker": fleet.id(0), "status": "working", "ttl_ms": 60_000, "tool": "compute"}
    record = Record(id=task, created=now(), updated=now(), **{**known, **changed})
    await fleet.workers[0].app.rooms.tasks.store.create(record)
    return task


async def test_tasks_of_everybody_are_listed_in_pages_without_what_they_gave(fleet: Fleet) -> None:
    made = {await create(fleet, f"task{number}") for number in range(7)}
    await fleet.workers[0].app.rooms.tasks.store.end(max(made), "completed", {"secret": "r3sult"})
    seen, cursor = [], ""
    while True:
        answer = await fleet.b.get("/tasks", params={"limit": 3, "cursor": cursor})
        assert "r3sult" not in answer.text
        page = answer.json()
        assert page["total"] == 7
        seen += page["items"]
        if not (cursor := page["next_cursor"] or ""):
            break
    assert sorted(each["id"] for each in seen) == sorted(made)
    first = (await fleet.b.get(f"/tasks/{min(made)}")).json()
    assert (first["tool"], first["subject"], first["worker"]) == ("compute", "alice", fleet.id(0))
    done = (await fleet.b.get("/tasks", params={"status": "completed"})).json()["items"]
    assert [each["id"] for each in done] == [max(made)]


async def test_a_task_is_cancelled_through_any_worker_and_once(fleet: Fleet) -> None:
    task = await create(fleet, "task")
    assert (await fleet.b.post(f"/tasks/{task}/cancel")).json()["status"] == "cancelled"
    assert (await fleet.a.get(f"/tasks/{task}")).json()["status"] == "cancelled"
    again = await fleet.a.post(f"/tasks/{task}/cancel")
    assert again.status_code == 409
    assert "cancelled" in again.json()["detail"]
    assert (await fleet.a.post("/tasks/none/cancel")).status_code == 404
    entries = (await fleet.a.get("/audit", params={"event": "task.cancelled"})).json()["items"]
    assert [(each["what"], each["outcome"]) for each in entries] == [(task[:8], "ended"), (task[:8], "ok")]


async def test_forgotten_tasks_are_not_counted(fleet: Fleet) -> None:
    store = fleet.workers[0].app.rooms.tasks.store
    state = fleet.workers[0].app.rooms.state
    await state.redis.zadd(state.keys.tasks(), {f"{1:014d}:longforgotten": 0})
    assert await store.count() == 0
    await create(fleet, "task")
    assert await state.redis.zcard(state.keys.tasks()) == 1
