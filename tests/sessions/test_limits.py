"""Limits: each has a clear error that names it, and none is crossed by going to another worker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from switchboard.edge.shedding import LOOK_EVERY_S, Load, Shedding, resident_bytes
from switchboard.sessions.records import LONGEST_PARAMS, MOST_SUBSCRIPTIONS

BOTH = {"accept": "application/json, text/event-stream"}
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


async def test_an_owner_has_no_more_sessions_than_allowed_on_all_workers_together(start: Any) -> None:
    workers = await start(2, max_sessions=3)
    sessions = [await workers.open() for _ in range(3)]
    refused = await workers.http.post(workers.b.url, json=INITIALIZE, headers=BOTH)
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    assert "MAX_SESSIONS" in refused.json()["error"]["message"]
    await workers.http.delete(workers.b.url, headers=sessions[0].headers)
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=BOTH)).status_code == 200


async def test_expired_sessions_make_room(start: Any) -> None:
    workers = await start(2, max_sessions=2)
    first, _ = await workers.open(), await workers.open()
    await workers.state.redis.delete(workers.state.keys.session(first.id))
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=BOTH)).status_code == 200
    assert (await workers.http.post(workers.b.url, json=INITIALIZE, headers=BOTH)).status_code == 429


async def test_an_owner_has_no_more_streams_on_a_worker_than_allowed(start: Any) -> None:
    workers = await start(2, max_streams=2)
    sessions = [await workers.open() for _ in range(3)]
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(session.listen(workers.a)) for session in sessions[:2]]
        for events in open_ones:
            await events.next()
        refused = await workers.http.get(workers.a.url, headers=sessions[2].headers)
        assert refused.status_code == 429
        assert "MAX_STREAMS" in refused.json()["error"]["message"]
        await stack.enter_async_context(sessions[2].listen(workers.b))


async def test_a_session_has_no_more_requests_running_on_a_worker_than_allowed(start: Any) -> None:
    workers = await start(2, max_requests=1)
    session = await workers.open()
    params = {"name": "longRunningOperation", "arguments": {"duration": 30, "steps": 30}, "_meta": {"progressToken": 1}}
    slow = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with session.stream(workers.a, slow) as events:
        await events.next()
        refused = await session.post(workers.a, {"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert refused.status_code == 429
        assert "MAX_REQUESTS" in refused.json()["error"]["message"]
        assert (await session.post(workers.b, {"jsonrpc": "2.0", "id": 3, "method": "ping"})).status_code == 200


def subscription(verb: str, id: int, uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": f"resources/{verb}", "params": {"uri": uri}}


async def test_a_session_has_no_more_subscriptions_than_allowed_on_all_workers_together(two: Any) -> None:
    session = await two.open()
    full = [f"test://full/{number}" for number in range(MOST_SUBSCRIPTIONS)]
    await two.state.redis.sadd(two.state.keys.subscriptions(session.id), *full)
    uri = "test://static/resource/1"
    refused = await session.post(two.a, subscription("subscribe", 1, uri))
    assert refused.json()["error"]["code"] == -32602
    assert str(MOST_SUBSCRIPTIONS) in refused.json()["error"]["message"]
    await session.post(two.b, subscription("unsubscribe", 2, full[0]))
    assert "result" in (await session.post(two.b, subscription("subscribe", 3, uri))).json()
    assert "result" in (await session.post(two.a, subscription("subscribe", 4, uri))).json()


async def test_a_client_that_says_too_much_of_itself_gets_no_session(two: Any) -> None:
    long = {**INITIALIZE["params"], "clientInfo": {"name": "t" * LONGEST_PARAMS, "version": "1"}}
    before = await two.state.redis.dbsize()
    refused = await two.http.post(two.a.url, json={**INITIALIZE, "params": long}, headers=BOTH)
    assert refused.json()["error"]["code"] == -32602
    assert str(LONGEST_PARAMS) in refused.json()["error"]["message"]
    assert await two.state.redis.dbsize() == before


async def test_an_overloaded_worker_refuses_with_503_but_answers_its_probes(start: Any) -> None:
    workers = await start(2, max_memory_mb=1)
    async with asyncio.timeout(5):
        while (answer := await workers.http.post(workers.a.url, json=INITIALIZE, headers=BOTH)).status_code != 503:
            await asyncio.sleep(0.05)
    assert "memory" in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers
    probe = await workers.http.get(workers.a.url.replace("/mcp", "/readyz"))
    assert probe.status_code == 200


async def test_a_blocked_event_loop_is_noticed_and_forgotten_when_it_runs_again() -> None:
    load = Load(max_lag=0.1, max_memory=0)
    async with load.running():
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        until = loop.time() + LOOK_EVERY_S + 0.4
        while loop.time() < until:  # blocks the loop on purpose
            pass
        async with asyncio.timeout(5):
            while load.overload is None:
                await asyncio.sleep(0)
            assert "event loop" in load.overload
            while load.overload is not None:
                await asyncio.sleep(0.01)


async def test_no_limit_means_no_refusal() -> None:
    load = Load(max_lag=0, max_memory=0, memory=lambda: 1 << 50)
    served: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        served.append(scope["path"])

    async with load.running():
        await asyncio.sleep(LOOK_EVERY_S * 1.5)
        await Shedding(app, load)({"type": "http", "path": "/mcp"}, None, None)  # type: ignore[arg-type]
    assert served == ["/mcp"]
    assert resident_bytes() > 1 << 20
