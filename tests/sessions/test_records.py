"""How a session's record is read for every request, and when its life is prolonged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from mcp_types import InitializeRequestParams

from switchboard.errors import SessionGone, StateUnavailable
from switchboard.sessions import records as module
from switchboard.sessions.records import SLIDES, Records
from switchboard.state import State, open_state
from switchboard.state.keys import STANDALONE

CLIENT = InitializeRequestParams.model_validate(
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
)
OWNER = "me"
TTL_S = 300


async def opened(state: State) -> tuple[Records, str]:
    """A session, and the records of a worker that has not served it yet."""
    sid = await Records(state, TTL_S).create(OWNER, "2025-11-25", CLIENT)
    return Records(state, TTL_S), sid


async def lives(state: State, sid: str) -> dict[str, int]:
    """How long what belongs to the session lives, in milliseconds."""
    keys = state.keys
    named = {
        "record": keys.session(sid),
        "subscriptions": keys.subscriptions(sid),
        "stream": keys.events(sid, STANDALONE),
    }
    return {name: int(await state.redis.pttl(key)) for name, key in named.items()}


async def age(state: State, sid: str, left_ms: int = 30_000) -> None:
    """As if the session had not been used for long."""
    for key in (state.keys.session(sid), state.keys.subscriptions(sid), state.keys.events(sid, STANDALONE)):
        await state.redis.pexpire(key, left_ms)


async def test_a_session_that_is_used_has_its_whole_time_left_and_a_tenth_more_at_most(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        records, sid = await opened(state)
        await age(state, sid)
        await records.load(sid, OWNER)
        assert TTL_S * 1000 < (await lives(state, sid))["record"] <= TTL_S * 1000 * (SLIDES + 1) / SLIDES


async def test_using_a_session_often_costs_one_command_each_time_and_prolongs_it_once(
    redis_url: str, commands: Callable[[], Any]
) -> None:
    async with open_state(redis_url) as state:
        records, sid = await opened(state)
        await records.load(sid, OWNER)  # of the first use, the owner's set is kept too
        other = await records.create(OWNER, "2025-11-25", CLIENT)
        async with commands() as seen:
            for _ in range(20):
                await records.load(other, OWNER)
        assert seen.count("HMGET") == 20
        assert seen.count("PEXPIRE") == 1
        assert len(seen) == 21


async def test_a_session_is_prolonged_again_after_a_tenth_of_its_time(redis_url: str) -> None:
    now = 1000.0
    async with open_state(redis_url) as state:
        _, sid = await opened(state)
        records = Records(state, TTL_S, clock=lambda: now)
        await records.load(sid, OWNER)
        await age(state, sid)
        now += TTL_S / SLIDES - 0.01
        await records.load(sid, OWNER)
        assert (await lives(state, sid))["record"] <= 30_000
        now += 0.02
        await records.load(sid, OWNER)
        assert (await lives(state, sid))["record"] > TTL_S * 1000


async def test_subscriptions_and_the_stream_live_on_with_the_session_unless_a_worker_has_the_stream_open(
    redis_url: str,
) -> None:
    async with open_state(redis_url) as state:
        for held in (False, True):
            records, sid = await opened(state)
            await records.subscribe(sid, "test://one")
            token = await state.scripts.attach(
                keys=[state.keys.session(sid), state.keys.events(sid, STANDALONE)],
                args=["a worker", state.keys.to_client(sid, STANDALONE)],
            )
            assert token
            await state.scripts.append(
                keys=[state.keys.session(sid), state.keys.events(sid, STANDALONE)],
                args=[state.keys.to_client(sid, STANDALONE), 10, "{}"],
            )
            if not held:
                await state.scripts.detach(keys=[state.keys.session(sid)], args=["a worker"])
            await age(state, sid)
            record = await records.load(sid, OWNER)
            assert (record.held_by, record.has_streams) == ("a worker" if held else None, True)
            left = await lives(state, sid)
            assert left["record"] > TTL_S * 1000
            assert [left[name] > TTL_S * 1000 for name in ("subscriptions", "stream")] == [not held] * 2


async def test_a_record_that_was_asked_for_early_is_the_one_that_is_loaded(
    redis_url: str, commands: Callable[[], Any]
) -> None:
    async with open_state(redis_url) as state:
        records, sid = await opened(state)
        await records.load(sid, OWNER)
        async with commands() as seen:
            begun = records.begin(sid)
            assert begun is not None
            assert (await records.load(sid, OWNER, begun)).sid == sid
        assert seen == ["HMGET"]


@pytest.mark.parametrize("sid", ["", "x", "0" * 47, "0" * 49, "0" * 47 + "G", "0" * 48 + "\n", "{0}" * 16])
async def test_what_cannot_be_a_session_id_is_asked_of_nobody(
    sid: str, redis_url: str, commands: Callable[[], Any]
) -> None:
    async with open_state(redis_url) as state:
        records = Records(state, TTL_S)
        async with commands() as seen:
            assert records.begin(sid) is None
            with pytest.raises(SessionGone):
                await records.load(sid, OWNER)
        assert seen == []


@pytest.mark.parametrize("changed", [{"v": "9"}, {"v": ""}, {"owner": "somebody else"}])
async def test_a_record_that_is_not_to_be_read_is_no_session_and_is_not_prolonged(
    changed: dict[Any, Any], redis_url: str
) -> None:
    async with open_state(redis_url) as state:
        records, sid = await opened(state)
        await state.redis.hset(state.keys.session(sid), mapping=changed)
        await age(state, sid)
        with pytest.raises(SessionGone):
            await records.load(sid, OWNER)
        assert (await lives(state, sid))["record"] <= 30_000


@pytest.mark.parametrize("memory", [False, True])
async def test_a_deleted_session_is_gone_for_the_next_request_on_every_worker(memory: bool, redis_url: str) -> None:
    async with open_state(None if memory else redis_url) as state:
        one, sid = await opened(state)
        two = Records(state, TTL_S)
        for records in (one, two):
            await records.load(sid, OWNER)
        await one.delete(sid, OWNER)
        for records in (one, two):
            with pytest.raises(SessionGone):
                await records.load(sid, OWNER)


async def test_a_life_that_could_not_be_prolonged_is_prolonged_by_the_next_request(redis_url: str) -> None:
    async with open_state(redis_url) as state, open_state(redis_url) as other:
        records, sid = await opened(state)
        await records.load(await records.create(OWNER, "2025-11-25", CLIENT), OWNER)
        await age(state, sid)
        await other.redis.client_pause(60_000, all=False)  # what writes has to wait
        loading = asyncio.ensure_future(records.load(sid, OWNER))
        async with asyncio.timeout(60):
            while not any(client["cmd"] == "pexpire" for client in await other.redis.client_list(_type="normal")):
                await asyncio.sleep(0.01)
        await other.redis.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StateUnavailable):
            await loading
        await other.redis.client_unpause()
        assert (await lives(other, sid))["record"] <= 30_000
        await records.load(sid, OWNER)
        assert (await lives(other, sid))["record"] > TTL_S * 1000


async def test_of_many_sessions_a_worker_remembers_those_it_prolonged_last(
    redis_url: str, commands: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SLID", 3)
    async with open_state(redis_url) as state:
        records = Records(state, TTL_S)
        sids = [await records.create(OWNER, "2025-11-25", CLIENT) for _ in range(4)]
        await records.load(await records.create(OWNER, "2025-11-25", CLIENT), OWNER)
        for sid in sids:
            await records.load(sid, OWNER)
        async with commands() as seen:
            for sid in reversed(sids):
                await records.load(sid, OWNER)
        assert seen.count("PEXPIRE") == 1, "of the first one only"
