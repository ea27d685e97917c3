"""How many connections the fleet may have to a backend, and how many of them one person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from switchboard.backends import Backend, BackendProvider, Bounds, Patience, Watchdog
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_quota import FleetConnectionQuota
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.errors import Refused
from switchboard.state import State, open_state
from tests.backends.conftest import Raw

QUICK = Patience(start=20, call=10, idle=60, stop=0.2)


class Host:
    """Of one worker."""

    def __init__(self, worker: str) -> None:
        self.worker = worker

    def streams(self) -> tuple[()]:
        return ()

    async def publish(self, event: Any) -> None:
        """Nobody listens."""


def sessions(user: str, *numbers: int) -> list[ConnectionKey]:
    return [ConnectionKey("session", f"{user}{number}", "c", user) for number in numbers]


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[State]:
    async with open_state(redis_url) as opened:
        yield opened


@pytest.fixture
async def pools(state: State) -> AsyncIterator[Any]:
    """`await pools(backend)`: the pools of two workers."""
    for sid in (f"{user}{number}" for user in ("ann", "bob") for number in range(5)):
        await state.redis.set(state.keys.session(sid), "")  # else their connections would be ended
    async with AsyncExitStack() as stack:
        watchdog = await stack.enter_async_context(Watchdog().running())

        async def started(backend: Backend) -> list[ConnectionPool]:
            made = [BackendProvider(backend, watchdog, state=state) for _ in range(2)]
            for number, provider in enumerate(made):
                await stack.enter_async_context(provider.running(Host(f"w{number}")))
            async with asyncio.timeout(60):
                while any(provider.health.condition != "ready" for provider in made):
                    await asyncio.sleep(0.02)
            return [provider.pool for provider in made]

        yield started


@asynccontextmanager
async def opened(lines: ConnectionPool, *keys: ConnectionKey) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for key in keys:
            await stack.enter_async_context(lines.connection(key, {}))
        yield


BOUNDS: Mapping[str, Bounds] = {
    "3 connections of yours are open": Bounds(connections_per_user=3),
    "3 connections are open in the fleet": Bounds(connections_of_fleet=3),  # the idle one of the leader makes room
}


@pytest.mark.parametrize("why", BOUNDS)
async def test_one_too_many_is_refused_on_whichever_worker(why: str, raw: Raw, pools: Any) -> None:
    here, there = await pools(raw("few", scope="session", bounds=BOUNDS[why], patience=QUICK))
    async with opened(here, *sessions("ann", 1, 2)), opened(there, *sessions("ann", 3)):
        for lines in (here, there):
            with pytest.raises(
                Refused, match=f"{why}, and all are in use: end one, or wait until one was not used for 60 s"
            ):
                async with opened(lines, *sessions("ann", 4)):
                    pass


async def test_one_that_nobody_used_for_long_makes_room_for_the_same_person_on_whichever_worker(
    raw: Raw, pools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.backends.connections.pool.KEPT_IDLE_S", 0.0)
    here, there = await pools(raw("few", scope="session", bounds=Bounds(connections_per_user=2), patience=QUICK))
    async with opened(here, *sessions("bob", 1)):
        async with opened(here, *sessions("ann", 1, 2)):
            pass
        async with opened(there, *sessions("ann", 3, 4)):
            assert [connection.key for connection in here.open if connection.key and connection.key.user] == sessions(
                "bob", 1
            )


async def test_what_was_used_lately_is_kept_and_one_too_many_is_refused_on_whichever_worker(
    raw: Raw, pools: Any
) -> None:
    here, there = await pools(raw("few", scope="session", bounds=Bounds(connections_per_user=2), patience=QUICK))
    async with opened(here, *sessions("ann", 1, 2)):
        kept = [connection for connection in here.open if connection.key and connection.key.user == "ann"]
    for lines in (here, there):
        with pytest.raises(Refused, match="2 connections of yours are open, and all are in use: end one"):
            async with opened(lines, *sessions("ann", 3)):
                pass
    assert [connection.over for connection in kept] == [False, False]
    async with opened(there, *sessions("bob", 1)):
        pass


async def test_the_connections_of_one_session_count_once(state: State, raw: Raw) -> None:
    backend = raw("few", scope="session", bounds=Bounds(connections_per_user=1))
    here, there = FleetConnectionQuota(state, backend), FleetConnectionQuota(state, backend)
    [first, second] = sessions("ann", 1, 2)
    assert await here.enter(first, here.member(first)) is None
    assert await there.enter(first, there.member(first)) is None
    assert await there.enter(second, there.member(second)) is not None
    await here.leave(first, here.member(first))
    assert await there.enter(second, there.member(second)) is None


async def test_what_a_dead_worker_had_is_counted_no_longer_than_its_lease(state: State, raw: Raw) -> None:
    backend = raw("few", scope="session", bounds=Bounds(connections_per_user=1))
    room = FleetConnectionQuota(state, backend)
    [first, second] = sessions("ann", 1, 2)
    await room.enter(first, room.member(first))
    for key in room._keys(first):
        await state.redis.zadd(key, {room.member(first): 1.0})  # its lease ended long ago
    assert await room.enter(second, room.member(second)) is None
