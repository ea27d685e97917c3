"""Requests that their client cancels, through any worker and at any time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.sessions.conftest import Workers
from tests.sessions.streams.calls import LONG, cancelled, running_on
from tools.messages import call


async def test_a_request_is_cancelled_through_the_other_worker(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 60, "steps": 60}, id="x", progressToken=1)) as events:
        await events.next()
        assert (await session.post(workers.b, cancelled("x"))).status_code == 202
        last: Any = None
        for last in await events.rest():
            assert last.message["method"] == "notifications/progress", "a cancelled request is not answered"
    assert not running_on(workers.a)
    if last is not None:
        again = await workers.http.get(workers.b.url, headers={**session.headers, "last-event-id": last.id})
        assert again.status_code == 400, "nothing is left to replay, and a client need not ask for it again"


async def test_a_cancellation_that_came_before_the_commit_is_seen_at_the_commit(two: Workers) -> None:
    session = await two.open()
    async with asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(session.post(two.a, call(LONG, {"duration": 50, "steps": 50}, id=7)))
        while not any(session.id in key for key in running_on(two.a)):
            await asyncio.sleep(0.005)
        await session.post(two.b, cancelled(7))
    answer = calling.result()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"id"' not in answer.text, "a cancelled request is not answered"


async def test_a_request_cancelled_at_once_ends_without_a_response_and_the_others_of_its_batch_with_theirs(
    workers: Workers,
) -> None:
    session = await workers.open("2025-03-26")
    room = workers.a.app.rooms.handshake
    async with asyncio.TaskGroup() as tasks:
        batch = [call(LONG, {"duration": 50, "steps": 50}, id=1), call("echo", {"message": "x"}, id=2)]
        one = tasks.create_task(session.post(workers.a, call(LONG, {"duration": 50, "steps": 50}, id=3)))
        several = tasks.create_task(session.post(workers.a, batch))
        while not {(session.id, 1), (session.id, 2), (session.id, 3)} <= set(room._running.values()):
            await asyncio.sleep(0.005)
        for number in (1, 3):
            await session.post(workers.a, cancelled(number))
    assert (one.result().status_code, one.result().text.strip()) == (200, ": open")
    assert '"id":2' in several.result().text.replace(" ", "")
    assert '"id":1' not in several.result().text.replace(" ", "")
