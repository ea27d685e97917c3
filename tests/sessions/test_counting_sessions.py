"""How many sessions an owner has: those that are alive, and nothing for long of those that are not."""

from __future__ import annotations

import pytest
from mcp_types import InitializeRequestParams

from switchboard.errors import TooMany
from switchboard.sessions.records import OLDEST, UNKNOWN, Records
from switchboard.sessions.session_quota import LOOKED_AT, SessionQuota
from switchboard.state import State, open_state

OWNER = "alice"
TTL_S = 100.0
PARAMS = InitializeRequestParams.model_validate_json(UNKNOWN, by_name=False)


async def elapsed(state: State, *sids: str) -> None:
    """The time in which these sessions would have ended has passed; those that were used meanwhile are still there."""
    key = SessionQuota(state, 1, 1)._key(OWNER)
    await state.redis.zadd(key, dict.fromkeys(sids, state.clock() * 1000 - 1))


async def many(records: Records, count: int) -> list[str]:
    return [await records.create(OWNER, OLDEST, PARAMS) for _ in range(count)]


async def test_expired_sessions_do_not_count_however_many_older_ones_are_alive(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        await state.greet()
        records = Records(state, TTL_S, 300)
        old, dead = await many(records, 200), await many(records, 100)
        await elapsed(state, *old, *dead)
        await state.redis.delete(*map(state.keys.session, dead))
        assert len(await many(records, 100)) == 100
        with pytest.raises(TooMany, match="MAX_SESSIONS"):
            await records.create(OWNER, OLDEST, PARAMS)


async def test_what_is_alive_is_looked_at_once_in_its_life(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        await state.greet()
        records = Records(state, TTL_S, 10)
        old = await many(records, 10)
        await elapsed(state, *old)
        for _ in range(2):
            with pytest.raises(TooMany):
                await records.create(OWNER, OLDEST, PARAMS)
        key = SessionQuota(state, 1, 1)._key(OWNER)
        assert await state.redis.zcount(key, "-inf", state.clock() * 1000) == 0
        assert await state.redis.zcard(key) == 10


async def test_ended_sessions_are_forgotten_when_the_next_ones_are_made_though_there_is_room(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        await state.greet()
        records = Records(state, TTL_S, 10_000)
        dead = await many(records, LOOKED_AT)
        await elapsed(state, *dead)
        await state.redis.delete(*map(state.keys.session, dead))
        (new,) = await many(records, 1)
        assert await state.redis.zrange(SessionQuota(state, 1, 1)._key(OWNER), 0, -1) == [new]


async def test_nothing_is_kept_for_long_of_an_owner_whose_sessions_have_ended(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        await state.greet()
        records = Records(state, TTL_S, 10)
        (sid,) = await many(records, 1)
        key = SessionQuota(state, 1, 1)._key(OWNER)
        assert 0 < await state.redis.pttl(key) <= 2 * records.ttl_ms
        await state.redis.pexpire(key, 1_000)
        await records.load(sid, OWNER)
        assert await state.redis.pttl(key) > 1_000, "its sessions are still used"


async def test_sessions_that_ended_before_their_time_make_room_but_are_looked_for_now_and_then_only(
    redis_url: str,
) -> None:
    async with open_state(redis_url) as state:
        await state.greet()
        records = Records(state, TTL_S, 3)
        first, second, _ = await many(records, 3)
        await state.redis.delete(state.keys.session(first))
        assert await many(records, 1)
        await state.redis.delete(state.keys.session(second))
        with pytest.raises(TooMany):
            await records.create(OWNER, OLDEST, PARAMS)
