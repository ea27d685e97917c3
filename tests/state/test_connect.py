"""Opening and closing the shared state, and Redis being away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import redis.asyncio
from redis.exceptions import MaxConnectionsError

from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state import State, open_state, pools, servers
from switchboard.state.pubsub import SMALL_CHARS
from tools.fleet.redis_server import RedisServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def test_the_state_says_what_it_is(redis_url: str) -> None:
    async with open_state(None) as memory, open_state(redis_url) as real:
        assert (memory.kind, real.kind) == ("memory://", "redis")


async def test_two_memory_states_share_nothing() -> None:
    async with open_state(None) as one, open_state(None) as two:
        await one.redis.set("k", "v")
        assert await two.redis.get("k") is None


async def test_closing_leaves_no_connection_behind(redis_url: str, eventually: Eventually) -> None:
    async with redis.asyncio.from_url(redis_url) as outside:
        before = len(await outside.client_list())
        async with open_state(redis_url) as state, state.pubsub.subscribed("c", lambda _: None):
            await asyncio.gather(*(state.redis.incr("n") for _ in range(20)))
            assert len(await outside.client_list()) > before

        async def all_gone() -> bool:
            return len(await outside.client_list()) == before

        await eventually(all_gone)


async def test_more_commands_at_once_than_connections_wait_their_turn(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        counts = await asyncio.gather(*(state.redis.incr("n") for _ in range(300)))
        assert sorted(counts) == list(range(1, 301))


async def test_what_needs_redis_says_so_while_it_is_away_and_everything_resumes_by_itself(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child is not None
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(server.url) as state, state.pubsub.subscribed("c", heard.put_nowait):
        await state.redis.ping()
        server.child.kill()
        with pytest.raises(StateUnavailable):
            await state.pubsub.publish("c", "lost")
        with pytest.raises(StateUnavailable), state.guard():
            await state.redis.get("k")
        with pytest.raises(StateUnavailable):
            async with state.pubsub.subscribed("new", heard.put_nowait):
                pass
        assert not state.pubsub.connected
        start_private_redis(port=int(server.url.rsplit(":", 1)[1].removesuffix("/0")))
        assert await asyncio.wait_for(heard.get(), 60) == ""
        await state.pubsub.publish("c", "again")
        assert await asyncio.wait_for(heard.get(), 60) == "again"


async def test_closing_while_the_server_goes_away_ends_all_the_same(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child is not None
    async with asyncio.timeout(60):
        async with open_state(server.url) as state:
            await state.redis.ping()
            server.child.kill()
            with pytest.raises(StateUnavailable), state.guard():
                await state.redis.ping()


async def test_a_worker_may_start_before_its_redis(start_private_redis: Callable[..., RedisServer]) -> None:
    server = start_private_redis()
    assert server.child is not None
    server.child.kill()
    async with open_state(server.url) as state:
        with pytest.raises(StateUnavailable), state.guard():
            await state.redis.ping()
        start_private_redis(port=int(server.url.rsplit(":", 1)[1].removesuffix("/0")))
        got: asyncio.Queue[str] = asyncio.Queue()
        async with state.pubsub.subscribed("c", got.put_nowait):
            await state.pubsub.publish("c", "here")
            assert await asyncio.wait_for(got.get(), 60) == "here"


async def test_a_wrong_command_is_not_taken_for_redis_being_away(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        await state.redis.set("text", "x")
        with pytest.raises(redis.exceptions.ResponseError), state.guard():
            await state.redis.lpush("text", "y")


async def test_a_cancellation_is_heeded_whenever_it_comes(state_url: str | None) -> None:
    async def work(state: State) -> None:
        while True:
            await state.redis.incr("n")

    async with open_state(state_url) as state:
        for turns in range(80):
            task = asyncio.create_task(work(state))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=2)
            assert task in done, f"still running when cancelled after {turns} turns of the loop"
            assert task.cancelled()
        assert await state.redis.ping()


async def test_connections_that_are_all_in_use_do_not_read_as_redis_being_away(
    state_url: str | None, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(pools, "FREE_CONNECTION_S", 0.2)
    monkeypatch.setattr(servers, "FREE_CONNECTION_S", 0.2)
    monkeypatch.setattr(servers, "COMMAND_TIMEOUT_S", None)  # for BLPOP, which waits until the end

    async def occupy(state: State) -> None:
        while True:
            with suppress(MaxConnectionsError):  # before it has one, who asks below may have them all
                await state.redis.blpop(["nothing{x}"], timeout=0)

    async with open_state(state_url, connections=4) as state, asyncio.TaskGroup() as tasks:
        busy = [tasks.create_task(occupy(state)) for _ in range(4)]

        async def refused() -> bool:
            try:
                with state.guard():
                    await state.redis.get("k{x}")
            except StateBusy as error:
                return "REDIS_MAX_CONNECTIONS" in str(error)
            return False

        await eventually(refused)
        with pytest.raises(StateBusy, match="All 4 connections"):
            await state.pubsub.publish("c", "x" * (SMALL_CHARS + 1))  # shorter ones go over the connection of look-ups
        for task in busy:
            task.cancel()


async def test_five_hundred_commands_at_once_wait_their_turn_on_every_kind_of_server(state_url: str | None) -> None:
    async with open_state(state_url, connections=8) as state:

        async def twice(number: int) -> list[int]:
            async with state.redis.pipeline(transaction=number % 2 == 0) as pipe:
                pipe.incr(f"a{{{number}}}")
                pipe.incr(f"a{{{number}}}")
                return list(await pipe.execute())

        assert await asyncio.gather(*(twice(number) for number in range(500))) == [[1, 2]] * 500
