"""Limits: each has a clear error that names it, and none is crossed by going to another worker."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.errors import SessionGone
from switchboard.http.middleware.load_shedding import (
    ENOUGH,
    LOOK_EVERY_S,
    Load,
    LoadShedding,
    raise_limit,
    shortage,
)
from switchboard.identity import ANONYMOUS
from switchboard.sessions.records import LONGEST_PARAMS, LONGEST_URI, MOST_SUBSCRIPTIONS, Records
from switchboard.sessions.streams.reply import Reply
from switchboard.telemetry.process_usage import resident_bytes
from tests.sessions.conftest import Session, Start, Worker, Workers
from tools.fleet.workers import HASTE
from tools.messages import ACCEPT, INITIALIZE, envelope

MODERN = envelope({"elicitation": {"form": {}}})


async def test_an_owner_has_no_more_sessions_than_allowed_on_all_workers_together(start: Start) -> None:
    workers = await start(2, max_sessions=3)
    sessions = [await workers.open() for _ in range(3)]
    refused = await workers.http.post(workers.b.url, json=INITIALIZE, headers=ACCEPT)
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    assert "MAX_SESSIONS" in refused.json()["error"]["message"]
    await workers.http.delete(workers.b.url, headers=sessions[0].headers)
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=ACCEPT)).status_code == 200


def pings(count: int) -> list[dict[str, Any]]:
    """A batch."""
    return [{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in range(1, count + 1)]


async def test_a_batch_counts_as_the_messages_in_it_on_all_workers_together(start: Start) -> None:
    workers = await start(2, rate_limit=20)
    session = await workers.open("2025-03-26")  # two requests
    served = await session.post(workers.a, pings(10))
    refused = await session.post(workers.b, pings(10))
    assert (served.status_code, len(served.json())) == (200, 10)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await session.post(workers.b, pings(5))).status_code == 200, "fewer may still be sent"


async def test_a_batch_of_more_than_may_ever_be_sent_at_once_is_told_to_be_smaller(start: Start) -> None:
    workers = await start(1, memory=True, rate_limit=20)
    session = await workers.open("2025-03-26")
    refused = await session.post(workers.a, pings(100))
    assert refused.status_code == 429
    assert "retry-after" not in refused.headers
    assert "send smaller ones" in refused.json()["error"]["message"]


async def test_a_batch_counts_against_the_share_of_its_address_too(start: Start) -> None:
    """Many people behind one address, or one person with many tokens: an address has ten people's quotas."""
    workers = await start(1, memory=True, rate_limit=100)
    session = await workers.open("2025-03-26")
    before = await workers.http.get(workers.a.url.replace("/mcp", "/healthz"))
    await session.post(workers.a, pings(90))
    rooms = workers.a.app.rooms
    due, now = float(await rooms.state.redis.get("rate:address:127.0.0.1") or 0), await rooms.state.redis.time()
    assert before.status_code == 200
    assert (due / 1000 - now[0]) / (60 / 1000) > 80, "permits of the address that are spent"


async def test_expired_sessions_make_room(start: Start) -> None:
    workers = await start(2, max_sessions=2)
    first, _ = await workers.open(), await workers.open()
    await workers.redis.delete(workers.state.keys.session(first.id))
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=ACCEPT)).status_code == 200
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=ACCEPT)).status_code == 429


async def test_an_owner_has_no_more_streams_than_allowed_on_all_workers_together(start: Start) -> None:
    workers = await start(2, max_streams=2)
    sessions = [await workers.open() for _ in range(3)]
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(sessions[n].listen(workers.every[n])) for n in range(2)]
        for events in held:
            await events.next()
        for worker in workers.every:
            refused = await workers.http.get(worker.url, headers=sessions[2].headers)
            assert refused.status_code == 429
            assert "MAX_STREAMS" in refused.json()["error"]["message"]
    await opened_again(workers.b, sessions[2])


async def opened_again(worker: Worker, session: Session) -> None:
    """Streams that ended are told of a little later."""
    async with asyncio.timeout(60):
        while True:
            async with session.workers.http.stream("GET", worker.url, headers=session.headers) as response:
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def test_the_streams_of_a_dead_worker_count_no_more(start: Start) -> None:
    workers = await start(2, max_streams=1, timing=HASTE)
    session = await workers.open()
    owner = await workers.redis.hget(workers.state.keys.session(session.id), "owner")
    left = workers.state.keys.held(hashlib.sha256(owner.encode()).hexdigest()[:24])
    await workers.redis.hset(left, "wdead", "1")
    async with asyncio.timeout(60):
        while not workers.a.app.rooms.state.contact.settled:
            await asyncio.sleep(0.05)
    async with session.listen(workers.a) as events:
        await events.next()
        assert "wdead" not in await workers.redis.hgetall(left)


async def test_a_principal_has_no_more_calls_waiting_for_it_than_allowed(start: Start) -> None:
    workers = await start(2, max_parked=1)
    asking = {"name": "elicitInputs", "arguments": {}, "_meta": MODERN}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asking}
    headers = {**ACCEPT, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "elicitInputs"}
    first, second = [(await workers.http.post(workers.a.url, json=message, headers=headers)).json() for _ in range(2)]
    assert first["result"]["resultType"] == "input_required"
    assert "Too many calls are waiting" in str(second)
    third = (await workers.http.post(workers.b.url, json=message, headers=headers)).json()
    assert third["result"]["resultType"] == "input_required"


def test_a_process_takes_as_many_descriptors_as_it_may() -> None:
    program = (
        "import resource; from switchboard.http.middleware.load_shedding import raise_limit, shortage\n"
        "for hard in (6000, 500):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))\n"
        "    print(raise_limit(), len(shortage(raise_limit())))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["6000", "0", "500", "1"]


def test_a_process_that_may_open_few_files_is_warned_of() -> None:
    assert shortage(ENOUGH) == ()
    (warning,) = shortage(1024)
    assert "LimitNOFILE" in warning
    assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


STEPS = {"name": "longRunningOperation", "arguments": {"duration": 30, "steps": 30}, "_meta": {"progressToken": 1}}


async def test_requests_with_the_same_id_count_each_and_are_cancelled_together(start: Start) -> None:
    workers = await start(1, max_requests=2, drain_timeout=0)
    session = await workers.open()
    slow = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": STEPS}
    async with session.stream(workers.a, slow) as one, session.stream(workers.a, slow) as other:
        await one.next()
        await other.next()
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await session.post(workers.a, ping)).status_code == 429
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert (await session.post(workers.a, cancelled)).status_code == 202
        assert all("result" not in event.message for event in (*await one.rest(), *await other.rest()))
        assert (await session.post(workers.a, ping)).status_code == 200


async def test_a_session_has_no_more_requests_running_on_a_worker_than_allowed(start: Start) -> None:
    workers = await start(2, max_requests=1, drain_timeout=0)
    session = await workers.open()
    slow = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": STEPS}
    async with session.stream(workers.a, slow) as events:
        await events.next()
        refused = await session.post(workers.a, {"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert refused.status_code == 429
        assert "MAX_REQUESTS" in refused.json()["error"]["message"]
        assert (await session.post(workers.b, {"jsonrpc": "2.0", "id": 3, "method": "ping"})).status_code == 200


def subscription(verb: str, id: int, uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": f"resources/{verb}", "params": {"uri": uri}}


async def test_a_session_has_no_more_subscriptions_than_allowed_on_all_workers_together(two: Workers) -> None:
    session = await two.open()
    full = [f"test://full/{number}" for number in range(MOST_SUBSCRIPTIONS)]
    await two.redis.sadd(two.state.keys.subscriptions(session.id), *full)
    uri = "test://static/resource/1"
    refused = await session.post(two.a, subscription("subscribe", 1, uri))
    assert refused.json()["error"]["code"] == -32602
    assert str(MOST_SUBSCRIPTIONS) in refused.json()["error"]["message"]
    await session.post(two.b, subscription("unsubscribe", 2, full[0]))
    assert "result" in (await session.post(two.b, subscription("subscribe", 3, uri))).json()
    assert "result" in (await session.post(two.a, subscription("subscribe", 4, uri))).json()


async def test_a_client_that_says_too_much_of_itself_gets_no_session(two: Workers) -> None:
    long = {**INITIALIZE["params"], "clientInfo": {"name": "t" * LONGEST_PARAMS, "version": "1"}}
    before = await two.redis.dbsize()
    refused = await two.http.post(two.a.url, json={**INITIALIZE, "params": long}, headers=ACCEPT)
    assert refused.json()["error"]["code"] == -32602
    assert str(LONGEST_PARAMS) in refused.json()["error"]["message"]
    assert await two.redis.dbsize() == before


async def test_what_a_client_says_of_itself_is_counted_in_bytes_and_its_pictures_are_left_out(start: Start) -> None:
    workers = await start(1, memory=True)

    async def sized(**info: Any) -> int:
        said = {**INITIALIZE["params"], "clientInfo": {"name": "t", "version": "1", **info}}
        answer = await workers.http.post(workers.a.url, json={**INITIALIZE, "params": said}, headers=ACCEPT)
        redis: Any = workers.a.app.rooms.state.redis
        names = [name async for name in redis.scan_iter(match="session:*")]
        for name in names:
            assert len((await redis.hget(name, "params")).encode()) <= LONGEST_PARAMS
        return len(names) if "result" in answer.json() else -1

    assert await sized(title="\U0001f600" * (LONGEST_PARAMS // 3)) == -1
    assert await sized(title="\U0001f600" * (LONGEST_PARAMS // 5)) == 1
    assert await sized(icons=[{"src": "data:image/png;base64," + "A" * 100_000}]) == 2


async def test_a_subscription_to_a_resource_with_an_endless_name_is_refused(start: Start) -> None:
    workers = await start(1, memory=True)
    records, session = workers.a.app.rooms.handshake.records, await workers.open()
    await records.subscribe(session.id, "demo://" + "a" * (LONGEST_URI - 7))
    with pytest.raises(MCPError, match=str(LONGEST_URI)):
        await records.subscribe(session.id, "demo://" + "a" * (LONGEST_URI - 6))


async def test_an_overloaded_worker_refuses_with_503_but_answers_its_probes(start: Start) -> None:
    workers = await start(2, max_memory_mb=1)
    async with asyncio.timeout(60):
        while (answer := await workers.http.post(workers.a.url, json=INITIALIZE, headers=ACCEPT)).status_code != 503:
            await asyncio.sleep(0.05)
    assert "memory" in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers
    probe = await workers.http.get(workers.a.url.replace("/mcp", "/readyz"))
    assert probe.status_code == 200


async def test_a_blocked_event_loop_is_noticed_and_forgotten_when_it_runs_again(
    pass_time: Callable[[float], Awaitable[None]],
) -> None:
    load = Load(max_lag=60, max_memory=0)
    async with load.running():
        await pass_time(0)
        await pass_time(LOOK_EVERY_S + 61)  # to a timer, as when the loop was blocked for so long
        assert "event loop is 61" in (load.overload or "")
        await pass_time(LOOK_EVERY_S)
        assert load.overload is None


async def test_no_limit_means_no_refusal(pass_time: Callable[[float], Awaitable[None]]) -> None:
    load = Load(max_lag=0, max_memory=0, memory=lambda: 1 << 50)
    served: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        served.append(scope["path"])

    async with load.running():
        await pass_time(0)
        await pass_time(LOOK_EVERY_S)
        await LoadShedding(app, load)({"type": "http", "path": "/mcp"}, None, None)  # type: ignore[arg-type]
    assert served == ["/mcp"]
    assert resident_bytes() > 1 << 20


async def test_a_stream_keeps_no_more_than_allowed_and_who_missed_something_is_not_given_the_rest(start: Start) -> None:
    workers = await start(2, max_stream_bytes=65_536)
    session = await workers.open()
    async with session.listen(workers.a) as events:
        await events.next()
        await said(workers.b, session, 0, "first")
        early = await events.message()
    for number in range(1, 41):
        await said(workers.every[number % 2], session, number, "x" * 4_000)
    kept = await workers.redis.xrange(workers.state.keys.events(session.id, "s"))
    assert sum(len(fields["f"]) for _, fields in kept) <= 65_536
    async with session.listen(workers.b, last_event_id=early.id) as events:
        assert await events.rest() == []
    later = f"s.{kept[0][0]}"
    async with session.listen(workers.b, last_event_id=later) as events:
        assert (await events.message()).message["params"]["data"]["number"] == 41 - len(kept) + 1


async def said(worker: Worker, session: Session, number: int, text: str) -> None:
    room = worker.app.rooms.handshake
    record = await room.records.load(session.id, ANONYMOUS.owner)
    params = {"level": "error", "data": {"number": number, "text": text}}
    await room.say(record, {"jsonrpc": "2.0", "method": "notifications/message", "params": params})


async def test_a_lost_reply_of_more_frames_than_are_kept_still_gets_its_ending(start: Start) -> None:
    workers = await start(2, timing=HASTE)
    session = await workers.open()
    keys, scripts = workers.state.keys, workers.state.scripts
    names = [
        keys.session(session.id),
        keys.events(session.id, "lostlostlost"),
        keys.exchange(session.id, "lostlostlost"),
    ]
    await scripts.open(keys=names, args=["wdead:1", 60_000, "[7]"])
    for number in range(1, 8):
        written = await scripts.emit(keys=names, args=["wdead:1", 60_000, "c", 5, "{}", "0", number, "[7]"])
    await workers.redis.delete(names[2])
    async with session.listen(workers.b, last_event_id=f"lostlostlost.{written[1]}") as events:
        (ending,) = [event.message for event in await events.rest()]
    assert (ending["id"], ending["error"]["data"]["reason"]) == (7, "worker_lost")


async def test_a_reader_that_takes_nothing_is_let_go_and_reads_the_rest_on_another_worker(start: Start) -> None:
    workers = await start(2, max_stream_bytes=65_536)
    session = await workers.open()
    room = workers.a.app.rooms.handshake
    record = await room.records.load(session.id, ANONYMOUS.owner)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        reply = Reply(workers.a.app.rooms.state, record, "w", 60_000, [9], tasks)
        async with aclosing(reply.events()) as reader:
            for number in range(10):
                await reply.emit(progress(number, "x" * 10_000))
            assert await anext(reader, None) is not None, "the priming event"
            assert await anext(reader, None) is None, "what waited for the reader was more than is kept"
        stored = await workers.redis.xrange(workers.state.keys.events(session.id, reply.name))
        await reply.finish(9, {"jsonrpc": "2.0", "id": 9, "result": {}})
        await reply.close()
    async with session.listen(workers.b, last_event_id=f"{reply.name}.{stored[0][0]}") as events:
        rest = [event.message for event in await events.rest()]
    assert rest[-1]["id"] == 9
    assert [message["params"]["progress"] for message in rest[:-1]] == list(range(10 - len(stored) + 1, 10))


def progress(number: int, text: str) -> dict[str, Any]:
    params = {"progressToken": 1, "progress": number, "message": text}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


async def test_a_stranger_who_knows_a_session_id_does_not_prolong_the_session(workers: Workers) -> None:
    session = await workers.open()
    state, redis = workers.a.app.rooms.state, workers.redis
    if state.kind != "redis":
        redis = state.redis
    records = Records(state, ttl=300)  # of a worker that has not prolonged it yet
    key = workers.state.keys.session(session.id)
    await redis.pexpire(key, 30_000)
    with pytest.raises(SessionGone):
        await records.load(session.id, "somebody else")
    assert 0 < await redis.pttl(key) <= 30_000
    await records.load(session.id, ANONYMOUS.owner)
    assert await redis.pttl(key) > 30_000
