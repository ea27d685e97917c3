"""A worker that is told to leave: its streams move, its requests finish, and what cannot finish is told."""

from __future__ import annotations

import asyncio

from tests.sessions.conftest import Start, Worker, Workers
from tools.messages import call

LONG = "longRunningOperation"


async def test_a_draining_worker_is_not_ready_and_asks_for_connections_to_be_closed(workers: Workers) -> None:
    base = workers.a.url.removesuffix("/mcp")
    assert (await workers.http.get(f"{base}/readyz")).json()["status"] == "ready"
    workers.a.app.drain()
    answer = await workers.http.get(f"{base}/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert answer.headers["connection"] == "close"
    assert (await workers.http.get(f"{base}/healthz")).status_code == 200


async def test_a_standalone_stream_ends_at_the_drain_and_goes_on_elsewhere(two: Workers) -> None:
    session = await two.open()
    async with session.listen(two.a) as events:
        primed = await events.next()
        two.a.app.drain()
        assert await events.rest() == []
    async with session.listen(two.b, last_event_id=primed.id) as events:
        assert (await events.next()).message is None


async def test_a_draining_worker_still_serves_what_reaches_it(two: Workers) -> None:
    session = await two.open()
    two.a.app.drain()
    assert (await session.call(two.a, "echo", {"message": "x"}))["content"][0]["text"] == "Echo: x"


async def test_a_request_whose_client_left_is_finished_before_the_worker_goes(start: Start) -> None:
    workers = await start(2, drain_timeout=10)
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 1, "steps": 2}, id=5, progressToken=1)) as events:
        seen = await events.message()
    await stop(workers.a)
    async with session.listen(workers.b, last_event_id=seen.id) as events:
        assert "result" in (await events.rest())[-1].message


async def test_a_request_that_cannot_be_finished_is_answered_with_the_reason(start: Start) -> None:
    workers = await start(2, drain_timeout=0)
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 60, "steps": 60}, id=5, progressToken=1)) as events:
        seen = await events.message()
    await stop(workers.a)
    async with session.listen(workers.b, last_event_id=seen.id) as events:
        final = (await events.rest())[-1].message
    assert final["id"] == 5
    assert final["error"]["data"] == {"reason": "worker_left", "retry": "if_idempotent"}


async def stop(worker: Worker) -> None:
    """Drain the worker and wait until it has left."""
    worker.app.drain()
    worker.server.should_exit = True
    async with asyncio.timeout(60):
        while worker.server.lifespan.shutdown_event.is_set() is False:
            await asyncio.sleep(0.01)
