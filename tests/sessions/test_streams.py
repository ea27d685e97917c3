"""Replies that become streams, questions to the client, cancellation, replay: each across workers."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any
from unittest.mock import ANY

import pytest
from mcp.shared.subscriptions import ResourceUpdated

from switchboard.identity import ANONYMOUS
from switchboard.sessions.records import Records
from switchboard.sessions.streams.frames import Frame
from switchboard.sessions.streams.reply_follower import ReplyFollower
from switchboard.sessions.streams.standalone import append
from switchboard.sessions.streams.stored_stream import START
from switchboard.state import open_state
from tests.sessions.conftest import Session, Start, Worker, Workers
from tools.fleet.workers import HASTE
from tools.messages import call

LONG = "longRunningOperation"


def cancelled(id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}


def answer(question: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": question["id"], "result": result}


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


@pytest.mark.parametrize(
    ("tool", "method", "result"),
    [
        ("sampleLLM", "sampling/createMessage", {"role": "assistant", "model": "m", "content": {}}),
        ("elicitInputs", "elicitation/create", {"action": "accept", "content": {"name": "Ada"}}),
        ("listRoots", "roots/list", {"roots": [{"uri": "file:///tmp"}]}),
    ],
)
async def test_a_question_to_the_client_is_answered_through_the_other_worker(
    workers: Workers, tool: str, method: str, result: dict[str, Any]
) -> None:
    if tool == "sampleLLM":
        result = {**result, "content": {"type": "text", "text": "Paris"}}
    session = await workers.open()
    async with session.stream(workers.a, call(tool, {"prompt": "x"} if tool == "sampleLLM" else {})) as events:
        question = (await events.message()).message
        assert question["method"] == method
        assert (await session.post(workers.b, answer(question, result))).status_code == 202
        final = (await events.message()).message
    assert "isError" not in final["result"] or final["result"]["isError"] is False


async def test_a_question_can_be_answered_for_as_long_as_it_is_asked(two: Workers) -> None:
    """The place for its answer would end with one life of the session; whoever waits for the answer renews it."""
    session = await two.open()
    async with session.stream(two.a, call("elicitInputs")) as events:
        question = (await events.message()).message
        place = two.state.keys.inbox(session.id, question["id"])
        await two.redis.pexpire(place, 60_000)
        await two.state.pubsub.publish(two.state.keys.to_server(session.id), "1")
        async with asyncio.timeout(60):
            while await two.redis.pttl(place) <= 60_000:
                await asyncio.sleep(0.01)
        await session.post(two.b, answer(question, {"action": "accept", "content": {"name": "Ada"}}))
        assert "Ada" in json.dumps((await events.message()).message)


async def test_an_answer_counts_once(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("elicitInputs")) as events:
        question = (await events.message()).message
        for name in ("first", "second"):
            await session.post(workers.b, answer(question, {"action": "accept", "content": {"name": name}}))
        final = (await events.message()).message
    assert "first" in json.dumps(final)
    assert "second" not in json.dumps(final)


async def test_an_error_from_the_client_becomes_a_tool_error(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("listRoots")) as events:
        question = (await events.message()).message
        refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no roots today"}}
        await session.post(workers.b, refusal)
        final = (await events.message()).message
    assert final["result"]["isError"] is True
    assert "no roots today" in final["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("tool", "capability"), [("sampleLLM", "sampling"), ("elicitInputs", "elicitation"), ("listRoots", "roots")]
)
async def test_a_client_without_the_capability_gets_an_error_that_names_it(
    workers: Workers, tool: str, capability: str
) -> None:
    session = await workers.open(capabilities={})
    result = await session.call(workers.b, tool, {"prompt": "x"} if tool == "sampleLLM" else {})
    assert result["isError"] is True
    assert capability in result["content"][0]["text"]


async def test_a_request_is_cancelled_through_the_other_worker(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 60, "steps": 60}, id="x", progressToken=1)) as events:
        await events.next()
        assert (await session.post(workers.b, cancelled("x"))).status_code == 202
        last: Any = None
        for last in await events.rest():
            assert last.message["method"] == "notifications/progress", "a cancelled request is not answered"
    assert not _running(workers.a)
    if last is not None:
        again = await workers.http.get(workers.b.url, headers={**session.headers, "last-event-id": last.id})
        assert again.status_code == 400, "nothing is left to replay, and a client need not ask for it again"


async def test_a_cancellation_that_came_before_the_commit_is_seen_at_the_commit(two: Workers) -> None:
    session = await two.open()
    async with asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(session.post(two.a, call(LONG, {"duration": 50, "steps": 50}, id=7)))
        while not any(session.id in key for key in _running(two.a)):
            await asyncio.sleep(0.005)
        await session.post(two.b, cancelled(7))
    answer = calling.result()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"id"' not in answer.text, "a cancelled request is not answered"


def _running(worker: Worker) -> list[str]:
    """The ids of the sessions that have a request running on the worker."""
    return [sid for sid, _ in worker.app.rooms.handshake._running.values()]


async def test_a_question_that_is_no_longer_asked_is_withdrawn(workers: Workers) -> None:
    session = await workers.open()
    async with session.stream(workers.a, call("elicitInputs", id=4)) as events:
        question = (await events.message()).message
        await session.post(workers.b, cancelled(4))
        [withdrawn] = [e.message for e in await events.rest()]
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]


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


async def test_the_standalone_stream_carries_what_any_worker_says(workers: Workers) -> None:
    session = await workers.open()
    async with session.listen(workers.a) as events:
        assert (await events.next()).message is None
        await say(workers, session, "one")
        await say(workers, session, "two")
        heard = [(await events.message()).message["params"]["data"] for _ in range(2)]
    assert heard == ["one", "two"]


async def say(workers: Workers, session: Session, text: str) -> None:
    """Put a message on the standalone stream, as any worker of the fleet would."""
    message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": text}}
    await append(workers.b.app.rooms.state, session.id, message)


async def test_the_standalone_stream_is_resumed_on_the_other_worker_without_gap_or_duplicate(workers: Workers) -> None:
    session = await workers.open()
    async with session.listen(workers.a) as events:
        await events.next()
        await say(workers, session, "one")
        last = await events.message()
    await say(workers, session, "two")
    async with session.listen(workers.b, last_event_id=last.id) as events:
        await say(workers, session, "three")
        heard = [(await events.message()).message["params"]["data"] for _ in range(2)]
    assert heard == ["two", "three"]


async def test_what_was_said_before_the_first_get_is_not_lost(workers: Workers) -> None:
    session = await workers.open()
    await say(workers, session, "early")
    async with session.listen(workers.b) as events:
        assert (await events.message()).message["params"]["data"] == "early"


async def test_the_newest_get_wins(workers: Workers) -> None:
    session = await workers.open()
    async with session.listen(workers.a) as older:
        await older.next()
        async with session.listen(workers.b) as newer:
            await newer.next()
            assert await older.rest() == []
            await say(workers, session, "x")
            assert (await newer.message()).message["params"]["data"] == "x"


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
    assert _running(workers.b) == []


async def test_a_resource_update_reaches_only_subscribed_sessions_on_every_worker(workers: Workers) -> None:
    uri = "test://static/resource/1"
    subscribed, other = await workers.open(), await workers.open()
    message = {"jsonrpc": "2.0", "id": 5, "method": "resources/subscribe", "params": {"uri": uri}}
    assert (await subscribed.post(workers.b, message)).json()["result"] == {}
    async with subscribed.listen(workers.a) as hears, other.listen(workers.b) as silent:
        await hears.next()
        await silent.next()
        await workers.b.app.rooms.bus.publish(ResourceUpdated(uri))
        heard = (await hears.message()).message
        assert (heard["method"], heard["params"]) == ("notifications/resources/updated", {"uri": uri})
        await say(workers, other, "only this")
        assert (await silent.message()).message["params"]["data"] == "only this"


async def test_an_update_comes_under_each_form_of_the_uri_that_the_client_subscribed_to(workers: Workers) -> None:
    session = await workers.open()
    forms = {"TEST://static/resource/1", "test://static/a/../resource/%31"}
    for number, uri in enumerate(sorted(forms)):
        message = {"jsonrpc": "2.0", "id": number, "method": "resources/subscribe", "params": {"uri": uri}}
        assert (await session.post(workers.b, message)).json()["result"] == {}
    async with session.listen(workers.a) as hears:
        await hears.next()
        await workers.b.app.rooms.bus.publish(ResourceUpdated("test://static/resource/1"))
        assert {(await hears.message()).message["params"]["uri"] for _ in forms} == forms
    drop = {"jsonrpc": "2.0", "id": 9, "method": "resources/unsubscribe", "params": {"uri": "test://static/resource/1"}}
    assert (await session.post(workers.a, drop)).json()["result"] == {}
    state = workers.a.app.rooms.state
    assert await state.redis.smembers(state.keys.subscriptions(session.id)) == set()


async def test_a_request_keeps_what_stands_beside_the_session_though_no_stream_is_open(two: Workers) -> None:
    session = await two.open()
    message = {
        "jsonrpc": "2.0",
        "id": 5,
        "method": "resources/subscribe",
        "params": {"uri": "test://static/resource/1"},
    }
    await session.post(two.a, message)
    await say(two, session, "said before any GET")
    keys, redis = two.state.keys, two.redis
    beside = [keys.session(session.id), keys.subscriptions(session.id), keys.events(session.id, "s")]
    for key in beside:
        assert await redis.pexpire(key, 60_000)
    await Records(two.state, ttl=300).load(session.id, ANONYMOUS.owner)  # on a worker that served none of its requests
    assert [key for key in beside if await redis.pttl(key) <= 60_000] == []


async def test_a_call_outlives_a_session_of_shorter_life(start: Start) -> None:
    workers = await start(session_ttl=3)
    session = await workers.open()
    async with session.stream(workers.a, call(LONG, {"duration": 5, "steps": 1})) as events:
        assert "result" in (await events.rest())[-1].message
    assert (await session.call(workers.b, "echo", {"message": "still here"}))["content"]


async def test_an_open_stream_outlives_a_session_of_shorter_life(start: Start) -> None:
    workers = await start(session_ttl=3)
    session = await workers.open()
    async with session.listen(workers.a) as events:
        await events.next()
        for _ in range(10):
            await asyncio.sleep(0.5)  # the life of the session is what is tested
            assert await workers.redis.exists(workers.state.keys.session(session.id))
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
    assert _running(two.a) + _running(two.b) == []
