"""Leases: one holder, renewed by it alone, free once it has gone."""

from __future__ import annotations

from switchboard.fleet import Lease
from switchboard.state import open_state
from switchboard.timing import Timing

TIMING = Timing()


async def test_a_lease_has_one_holder_who_may_renew_it(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        mine, other = Lease(state, "k", "w1"), Lease(state, "k", "w2")
        assert (await mine.claim(), await other.claim(), await mine.claim()) == (True, False, True)
        assert (mine.held, other.held) == (True, False)
        assert 0 < await state.redis.pttl("k") <= TIMING.lease_ms


async def test_a_lease_that_was_given_back_is_free_and_only_its_holder_gives_it_back(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        mine, other = Lease(state, "k", "w1"), Lease(state, "k", "w2")
        await mine.claim()
        await other.release()
        assert not await other.claim()
        await mine.release()
        assert not mine.held
        assert await other.claim()


async def test_a_holder_that_could_not_renew_knows_by_its_own_clock(state_url: str | None) -> None:
    now = 100.0
    async with open_state(state_url) as state:
        lease = Lease(state, "k", "w1", clock=lambda: now)
        await lease.claim()
        now += TIMING.lease_s - 0.1
        assert lease.held
        now += 0.2
        assert not lease.held


async def test_two_leases_of_one_worker_are_two_holders(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        assert await Lease(state, "k", "w1").claim()
        assert not await Lease(state, "k", "w1").claim()
