"""Which worker has a child: renewed while it is used, given back when it is not, lost to whoever took it over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_leases import ConnectionLease, ConnectionLeases
from switchboard.backends.connections.inflight import InFlight
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from tests.backends.conftest import Raw

KEY = ConnectionKey("session", "s1", "c")
PassTime = Callable[[float], Awaitable[None]]


class Child:
    """A connection that ends at once when it is told to."""

    def __init__(self) -> None:
        self.calls = InFlight(owned=True)
        self.over = False

    def stop(self) -> None:
        self.over = True

    async def closed(self) -> None:
        assert self.over


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with open_state(url) as opened:
        yield replace(opened, contact=Contact(unbroken=True))  # as when Redis has answered for a while


@pytest.fixture
def leases(state: State, raw: Raw) -> Callable[[str], ConnectionLeases]:
    """The leases of one backend on the worker of that name."""
    return lambda worker: ConnectionLeases(state, worker, raw("own"))


async def held(worker: ConnectionLeases, child: Child | None = None) -> ConnectionLease:
    """A worker's lease on the one connection, with a child."""
    lease = await worker.claim(KEY)
    assert isinstance(lease, ConnectionLease)
    lease.connection = child  # type: ignore[assignment]
    return lease


async def until(state: State, key: str, left_ms: Callable[[int], bool]) -> None:
    """Wait until what is left of a lease is so."""
    async with asyncio.timeout(60):
        while not left_ms(await state.redis.pttl(key)):
            await asyncio.sleep(0.01)


async def test_the_lease_of_a_child_is_renewed_for_as_long_as_the_child_lives(
    state: State, leases: Any, pass_time: PassTime
) -> None:
    here, child = leases("here"), Child()
    async with here.running():
        lease = await held(here, child)
        for _ in range(4):
            for key in here._keys(KEY):
                await state.redis.pexpire(key, 5_000)
            await pass_time(state.timing.renew_s)
            for key in here._keys(KEY):
                await until(state, key, lambda left: left > 5_000)
        assert here.mine(KEY) is lease, "for longer than a lease is"
        assert not child.over
        child.over = True
        await pass_time(state.timing.renew_s)
        await until(state, here._keys(KEY)[0], lambda left: left == -2)
        assert here.mine(KEY) is None


async def test_a_lease_is_kept_without_a_child_while_somebody_uses_it(
    state: State, leases: Any, pass_time: PassTime
) -> None:
    here = leases("here")
    async with here.running():
        lease = await held(here)
        lease.users = 1
        await state.redis.pexpire(here._keys(KEY)[0], 5_000)
        await pass_time(state.timing.renew_s)
        await until(state, here._keys(KEY)[0], lambda left: left > 5_000)


async def test_a_worker_whose_lease_another_has_ends_its_child(state: State, leases: Any, pass_time: PassTime) -> None:
    here, there, child = leases("here"), leases("there"), Child()
    async with here.running():
        await held(here, child)
        await state.redis.delete(here._keys(KEY)[0])  # as when it expires
        await held(there)
        await pass_time(state.timing.renew_s)
        async with asyncio.timeout(60):
            while not child.over:
                await asyncio.sleep(0.01)
        assert here.mine(KEY) is None
        assert await here.is_elsewhere(KEY)


async def test_a_worker_that_leaves_does_not_give_back_what_another_has_by_now(state: State, leases: Any) -> None:
    here, there = leases("here"), leases("there")
    async with here.running():
        await held(here)
        await state.redis.delete(here._keys(KEY)[0])  # as when it expires
        await held(there)
    assert await state.redis.exists(there._keys(KEY)[0])


async def test_a_lease_that_expired_and_that_nobody_took_is_renewed(state: State, leases: Any) -> None:
    here, child = leases("here"), Child()
    lease = await held(here, child)
    await state.redis.delete(*here._keys(KEY))
    lease.renewed -= state.timing.lease_s
    assert await here.claim(KEY) is lease
    assert await state.redis.exists(*here._keys(KEY)) == 2
    assert here.mine(KEY) is lease
    assert not child.over


async def test_a_worker_that_leaves_ends_its_child_before_it_gives_the_lease_back(state: State, leases: Any) -> None:
    here, there = leases("here"), leases("there")
    gone = asyncio.Event()

    class Slow(Child):
        async def closed(self) -> None:
            assert await there.claim(KEY) == "here"
            gone.set()

    async with here.running():
        await held(here, Slow())
    assert gone.is_set()
    taken = await held(there)
    assert taken.lost, "the next worker knows that there was a child before"


async def test_the_first_lease_of_a_connection_knows_of_no_child_before(leases: Any) -> None:
    assert not (await held(leases("here"))).lost
