"""The standalone stream: what any worker says comes on it, once and in order, and to whom it belongs."""

from __future__ import annotations

import asyncio

from mcp.shared.subscriptions import ResourceUpdated

from switchboard.identity import ANONYMOUS
from switchboard.sessions.records import Records
from switchboard.sessions.streams.standalone import append
from tests.sessions.conftest import Session, Start, Workers


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


async def test_an_open_stream_outlives_a_session_of_shorter_life(start: Start) -> None:
    workers = await start(session_ttl=3)
    session = await workers.open()
    async with session.listen(workers.a) as events:
        await events.next()
        for _ in range(10):
            await asyncio.sleep(0.5)  # the life of the session is what is tested
            assert await workers.redis.exists(workers.state.keys.session(session.id))
    assert (await session.call(workers.b, "echo", {"message": "still here"}))["content"]
