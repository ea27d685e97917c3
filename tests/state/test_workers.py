"""A worker's heartbeat, and the fleet's shared key ring."""

from __future__ import annotations

from dataclasses import replace

import pytest

from switchboard.errors import ConfigurationError
from switchboard.fleet import Heartbeat, mint_worker_id
from switchboard.fleet.heartbeat import LEFT_S, left
from switchboard.state import check_fingerprint, open_state
from switchboard.state.contact import Contact
from switchboard.timing import Timing

TIMING = Timing()

UNBROKEN = Contact(unbroken=True)
"""Redis has answered for long enough."""


async def test_a_worker_is_alive_while_its_heartbeat_runs(state_url: str | None) -> None:
    async with open_state(state_url) as opened:
        state = replace(opened, contact=UNBROKEN)
        mine, other = Heartbeat(state, "w1", "1.0"), Heartbeat(state, "w2", "1.0")
        assert not await other.alive("w1")
        async with mine.running():
            assert await other.alive("w1")
            assert 0 < await state.redis.pttl(state.keys.worker("w1")) <= TIMING.lease_ms
        assert not await other.alive("w1")


async def test_a_worker_that_ended_as_it_was_told_to_is_known_to_have_left_and_one_that_was_lost_is_not(
    state_url: str | None,
) -> None:
    async with open_state(state_url) as state:
        async with Heartbeat(state, "w1", "1.0").running(), Heartbeat(state, "w2", "1.0").running():
            await state.redis.delete(state.keys.worker("w2"))  # as when it expires
            assert await left(state) == {}
            await state.redis.zadd(state.keys.workers_left(), {"wlong": state.clock() - LEFT_S - 1})
        async with Heartbeat(state, "w3", "1.0").running():
            found = await left(state)
            kept = await state.redis.zrange(state.keys.workers_left(), 0, -1)
            life = await state.redis.pttl(state.keys.workers_left())

    assert set(found) == {"w1", "w2"}
    assert set(kept) == {"w1", "w2"}
    assert 0 < life <= LEFT_S * 1000


async def test_a_worker_that_stopped_beating_is_dead(state_url: str | None) -> None:
    async with open_state(state_url) as opened:
        state = replace(opened, contact=UNBROKEN)
        heartbeat = Heartbeat(state, "w1", "1.0")
        async with heartbeat.running():
            await state.redis.delete(state.keys.worker("w1"))  # as when it expires
            assert not await heartbeat.alive("w1")


def test_no_two_workers_get_the_same_id() -> None:
    assert len({mint_worker_id() for _ in range(1000)}) == 1000


async def test_a_worker_whose_keys_the_fleet_does_not_know_is_refused(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        await check_fingerprint(state, ["key-a"])
        await check_fingerprint(state, ["key-a"])
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            await check_fingerprint(state, ["key-b"])


async def test_a_rotation_passes_step_by_step(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        for ring in (["old"], ["old", "new"], ["new", "old"], ["old", "new"], ["new", "old"], ["new"]):
            await check_fingerprint(state, ring)
        with pytest.raises(ConfigurationError):
            await check_fingerprint(state, ["old"])


async def test_the_fingerprint_does_not_show_the_key(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        await check_fingerprint(state, ["a-very-secret-key"])
        assert "secret" not in str(await state.redis.get(state.keys.fingerprint()))


async def test_fleets_with_different_prefixes_do_not_see_each_other(redis_url: str) -> None:
    async with open_state(redis_url, prefix="one:") as one, open_state(redis_url, prefix="two:") as two:
        await check_fingerprint(one, ["key-a"])
        await check_fingerprint(two, ["key-b"])
        async with Heartbeat(one, "w1", "1.0").running():
            assert not await Heartbeat(replace(two, contact=UNBROKEN), "w2", "1.0").alive("w1")
