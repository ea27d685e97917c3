"""Replies that become streams, and their replay: each across workers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any
from unittest.mock import ANY

from switchboard.sessions.streams.frames import Frame
from switchboard.sessions.streams.reply_follower import ReplyFollower
from switchboard.sessions.streams.stored_stream import START
from switchboard.state import open_state
from tests.sessions.conftest import Start, Worker, Workers
from tests.sessions.streams.calls import LONG, running_on
from tools.fleet.workers import HASTE
from tools.messages import call


async def test_progress_makes_the_answer_a_stream_with_the_response_at_its_end(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.b, call(LONG, {"duration": 0.2, "steps": 3}, progressToken="p")) as events:
        primed = await events.next()
        assert primed.message is None
        assert primed.id
        rest = await events.rest()
    assert [e.message["params"]["progress"] for e in rest[:-1]] == [1, 2, 3]
    assert {e.message["params"]["progressToken"] for e in rest[:-1]} == {"p"}
    assert rest[-1].message["id"] == 1
    assert len({e.id for e in rest}) == 4


async def test_clients_older_than_polling_get_no_priming_event(workers: Workers) -> None:
    session = await workers.open("2025-06-18")
    async with session.stream(workers.b, call(LONG, {"duration": 0.1, "steps": 1}, progressToken="p")) as events:
        assert (await events.next()).message["method"] == "notifications/progress"


async def test_a_silent_handler_becomes_a_stream_after_the_commit_window(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.b, call(LONG, {"duration": 1.3, "steps": 1})) as events:
        assert [e.message["id"] for e in await events.rest()] == [1]


async def test_log_messages_below_the_level_of_the_session_are_held_back(workers: Workers) -> None:
    session = await workers.open()
    done = await session.post(
        workers.a, {"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "error"}}
    )
    assert done.json()["result"] == {}
    async with session.stream(workers.b, call("logEveryLevel")) as events:
        levels = [e.message["params"]["level"] for e in await events.rest() if "params" in e.message]
    assert levels == ["error", "critical", "alert", "emergency"]


async def test_a_client_that_left_resumes_its_request_on_the_other_worker(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 1.5, "steps": 6}, id=3, progressToken=1)) as events:
        await events.next()
        seen = [await events.message(), await events.message()]
    async with session.listen(workers.b, last_event_id=seen[-1].id) as events:
        rest = await events.rest()
    progress = [e.message["params"]["progress"] for e in [*seen, *rest] if "params" in e.message]
    assert progress == [1, 2, 3, 4, 5, 6]
    assert rest[-1].message["id"] == 3


async def test_a_finished_request_is_replayed_from_its_first_event(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 0.2, "steps": 2}, progressToken=1)) as events:
        primed = await events.next()
        live = await events.rest()
    async with session.listen(workers.b, last_event_id=primed.id) as events:
        replayed = await events.rest()
    assert [(e.id, e.message) for e in replayed] == [(e.id, e.message) for e in live]


async def test_frames_that_were_dropped_are_refused_instead_of_skipped(two: Workers) -> None:
    session = await two.open()
    async with session.stream(two.a, call(LONG, {"duration": 0.2, "steps": 4}, progressToken=1)) as events:
        primed = await events.next()
        await events.rest()
    assert primed.id is not None
    stream = primed.id.partition(".")[0]
    await two.redis.xtrim(two.state.keys.events(session.id, stream), maxlen=2, approximate=False)
    response = await two.http.get(two.b.url, headers={**session.headers, "last-event-id": primed.id})
    assert response.status_code == 400
    assert "replayed" in response.json()["error"]["message"]


async def test_a_follower_that_missed_frames_ends_instead_of_skipping_them() -> None:
    async with open_state(None) as state:
        sid, stream = "s" * 48, "reply"
        key = state.keys.events(sid, stream)
        await state.redis.hset(state.keys.session(sid), "owner", "alice")
        await state.redis.xadd(key, {"f": "first", "b": 5})
        follower = ReplyFollower(state, sid, stream, START, 60_000)
        async with asyncio.timeout(60), aclosing(follower.frames()) as frames:
            assert await anext(frames) == Frame(ANY, "first", total=5)
            missing = 10
            await state.redis.xadd(key, {"f": "third", "b": 5 + missing + 5})
            await state.pubsub.publish(state.keys.to_client(sid, stream), "1")
            assert [frame async for frame in frames] == []


async def test_an_unknown_last_event_id_is_refused(workers: Workers) -> None:
    session = await workers.open()
    for text in ("nonsense", "abcdefgh.1-1", "../../x.1-1"):
        headers = {**session.headers, "last-event-id": text}
        assert (await workers.http.get(workers.b.url, headers=headers)).status_code == 400


async def test_a_follower_of_a_lost_worker_gets_one_error_that_says_so(start: Start) -> None:
    two = await start(timing=HASTE)
    session = await two.open()
    keys, scripts = two.state.keys, two.state.scripts
    names = [
        keys.session(session.id),
        keys.events(session.id, "deadbeefdead"),
        keys.exchange(session.id, "deadbeefdead"),
    ]
    opened = await scripts.open(keys=names, args=["wdead:1", 1, "[41]"])  # a lease of one millisecond
    last = f"deadbeefdead.{opened[1]}"

    async def follow(worker: Worker) -> list[Any]:
        async with session.listen(worker, last_event_id=last) as events:
            return [e.message for e in await events.rest()]

    first, second = await asyncio.gather(follow(two.a), follow(two.b))
    assert first == second
    assert [m["id"] for m in first] == [41]
    assert first[0]["error"]["data"] == {"reason": "worker_lost", "retry": "if_idempotent"}
    late = scripts.written(await scripts.emit(keys=names, args=["wdead:1", 12000, "c", 10, "{}", "1", 1]))
    assert late.verdict == "fenced"


async def test_deleting_the_session_ends_its_streams_and_running_requests(workers: Workers) -> None:
    session = await workers.open()
    async with session.listen(workers.a) as standalone:
        await standalone.next()
        slow = call(LONG, {"duration": 60, "steps": 60}, progressToken=1)
        async with session.stream(workers.b, slow) as running:
            await running.next()
            await workers.http.delete(workers.a.url, headers=session.headers)
            assert await standalone.rest() == []
            assert [e for e in await running.rest() if "id" in e.message] == []
    assert running_on(workers.b) == []


async def test_a_call_outlives_a_session_of_shorter_life(start: Start) -> None:
    workers = await start(session_ttl=3)
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 5, "steps": 1})) as events:
        assert "result" in (await events.rest())[-1].message
    assert (await session.call(workers.b, "echo", {"message": "still here"}))["content"]


async def test_hundreds_of_exchanges_leave_no_subscription_and_no_running_request_behind(two: Workers) -> None:
    channels = set(await two.redis.pubsub_channels("*"))
    session = await two.open()

    async def one(id: int) -> None:
        async with session.stream(two.next(), call(LONG, {"duration": 0.05, "steps": 1}, id, progressToken=id)) as s:
            assert (await s.rest())[-1].message["id"] == id

    for start in range(0, 200, 20):
        await asyncio.gather(*(one(id) for id in range(start + 1, start + 21)))
    async with asyncio.timeout(60):
        while set(await two.redis.pubsub_channels("*")) != channels:
            await asyncio.sleep(0.01)
    assert running_on(two.a) + running_on(two.b) == []
