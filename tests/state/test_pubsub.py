"""Pub/sub over one connection per worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from structlog.testing import capture_logs

from switchboard.state import State, open_state
from tools.fleet.redis_server import RedisServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


async def channels(state: State) -> set[str]:
    client: Any = state.redis
    if isinstance(client, RedisCluster):
        await client.initialize()
        asked = [node.execute_command("PUBSUB SHARDCHANNELS") for node in client.get_primaries()]
        return {str(name) for names in await asyncio.gather(*asked) for name in names}
    return {str(name) for name in await client.pubsub_channels()}


async def kill_pubsub(state: State) -> None:
    client: Any = state.redis
    everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    await client.client_kill_filter(_type="pubsub", **everywhere)


async def test_what_is_published_right_after_entering_is_received(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        for number in range(50):
            got: asyncio.Queue[str] = asyncio.Queue()
            async with state.pubsub.subscribed(f"c{number}", got.put_nowait):
                await state.pubsub.publish(f"c{number}", "payload")
                assert await asyncio.wait_for(got.get(), 60) == "payload"


async def test_a_subscription_enters_only_when_the_server_has_it(state_url: str | None) -> None:
    async with open_state(state_url) as state, state.pubsub.subscribed("here", lambda _: None):
        assert await channels(state) == {"here"}


async def test_all_listeners_of_a_channel_hear_and_one_leaving_does_not_silence_the_other(
    state_url: str | None,
) -> None:
    first: asyncio.Queue[str] = asyncio.Queue()
    second: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(state_url) as state, state.pubsub.subscribed("c", first.put_nowait):
        async with state.pubsub.subscribed("c", second.put_nowait):
            await state.pubsub.publish("c", "both")
            assert await asyncio.wait_for(second.get(), 60) == "both"
        await state.pubsub.publish("c", "one")
        assert [await asyncio.wait_for(first.get(), 60) for _ in range(2)] == ["both", "one"]
        assert second.empty()


async def test_a_channel_dropped_and_wished_for_again_at_once_still_delivers(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        for number in range(100):
            got: asyncio.Queue[str] = asyncio.Queue()
            async with state.pubsub.subscribed("flapping", got.put_nowait):
                if number % 3 == 0:
                    await asyncio.sleep(0)  # let the writer run between some of the rounds, not between others
                await state.pubsub.publish("flapping", str(number))
                assert await asyncio.wait_for(got.get(), 60) == str(number)


async def test_a_wish_given_up_before_its_confirmation_leaves_nothing_subscribed(
    state_url: str | None, eventually: Eventually
) -> None:
    async def briefly(state: State, channel: str) -> None:
        async with state.pubsub.subscribed(channel, lambda _: None):
            pass

    async with open_state(state_url) as state:
        tasks = [asyncio.create_task(briefly(state, f"c{n % 5}")) for n in range(30)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def quiet() -> bool:
            return not await channels(state)

        await eventually(quiet)


async def test_the_hub_is_left_with_all_listeners_gone_when_a_body_raises(
    state_url: str | None, eventually: Eventually
) -> None:
    async with open_state(state_url) as state:
        try:
            async with state.pubsub.subscribed("c", lambda _: None):
                raise KeyError("body")
        except KeyError:
            pass

        async def quiet() -> bool:
            return not await channels(state)

        await eventually(quiet)


@pytest.mark.parametrize("state_url", ["redis", "cluster"], indirect=True)
async def test_listeners_are_told_to_look_again_after_the_connection_was_killed(state_url: str) -> None:
    got: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(state_url) as state, state.pubsub.subscribed("c", got.put_nowait):
        await kill_pubsub(state)
        assert await asyncio.wait_for(got.get(), 60) == ""
        await state.pubsub.publish("c", "after")
        assert await asyncio.wait_for(got.get(), 60) == "after"


@pytest.mark.parametrize("state_url", ["redis", "cluster"], indirect=True)
async def test_forty_churning_tasks_outlive_ten_kills_without_an_error_a_loss_or_a_leak(
    state_url: str, eventually: Eventually
) -> None:
    """A message may be lost with a connection, but then the listener is told to look: nobody waits for ever."""
    async with open_state(state_url) as state:
        stop = asyncio.Event()
        rounds = looks = 0

        def look(_payload: str) -> None:
            nonlocal looks
            looks += 1

        async def churn(number: int) -> None:
            nonlocal rounds
            while not stop.is_set():
                channel, key = f"churn{(number + rounds) % 25}", f"stored{number}"
                woken = asyncio.Event()
                async with state.pubsub.subscribed(channel, lambda _, woken=woken: woken.set()):  # type: ignore[misc]
                    await state.redis.set(key, "here")
                    await state.pubsub.publish(channel, "look")
                    await asyncio.wait_for(woken.wait(), 60)
                    assert await state.redis.getdel(key) == "here"
                rounds += 1

        async def kill() -> None:
            for _ in range(10):
                before = looks
                await kill_pubsub(state)

                async def renewed(before: int = before) -> bool:
                    return looks > before

                await eventually(renewed)
                done = rounds

                async def moved(done: int = done) -> bool:
                    return rounds > done + 40

                await eventually(moved)
            stop.set()

        async with state.pubsub.subscribed("lasting", look), asyncio.TaskGroup() as tasks:
            for number in range(40):
                tasks.create_task(churn(number))
            tasks.create_task(kill())
        async with state.pubsub.subscribed("lasting", lambda _: None):

            async def only_the_lasting_one() -> bool:
                return await channels(state) == {"lasting"}

            await eventually(only_the_lasting_one)


async def test_a_whole_worker_uses_one_connection_for_all_its_channels(redis_url: str) -> None:
    async with open_state(redis_url) as state, asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        entered = asyncio.Barrier(31)

        async def hold(number: int) -> None:
            async with state.pubsub.subscribed(f"c{number}", lambda _: None):
                await entered.wait()
                await entered.wait()

        for number in range(30):
            tasks.create_task(hold(number))
        await entered.wait()
        async with redis.asyncio.from_url(redis_url) as other:
            assert len(await other.client_list(_type="pubsub")) == 1
        await entered.wait()


async def test_who_enters_while_redis_is_away_waits_until_it_is_back(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child
    got: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(server.url) as state:
        async with state.pubsub.subscribed("c", lambda _: None):
            server.child.kill()
            async with asyncio.timeout(60):
                while state.pubsub.connected:
                    await asyncio.sleep(0.01)
        entering = state.pubsub.subscribed("c", got.put_nowait)
        entered = asyncio.create_task(entering.__aenter__())
        await asyncio.sleep(0.1)
        assert not entered.done()
        start_private_redis(port=urlsplit(server.url).port)
        await entered
        await state.pubsub.publish("c", "here")
        assert await asyncio.wait_for(got.get(), 60) == "here"
        await entering.__aexit__(None, None, None)


async def test_a_channel_that_may_not_be_heard_disturbs_no_other_and_is_tried_again(redis_url: str) -> None:
    heard: list[str] = []
    with redis.Redis.from_url(redis_url) as operator:
        operator.execute_command("ACL SETUSER", "narrow", "on", ">secret", "~*", "+@all", "resetchannels", "&open*")
        async with open_state(redis_url.replace("redis://", "redis://narrow:secret@")) as state:
            with capture_logs() as logs:
                async with state.pubsub.subscribed("open", heard.append):
                    closed = asyncio.create_task(_entered(state, "closed"))
                    async with state.pubsub.subscribed("open too", heard.append):
                        await state.pubsub.publish("open too", "undisturbed")
                        await asyncio.sleep(1)
                    assert heard == ["undisturbed"]
                    operator.execute_command("ACL SETUSER", "narrow", "&closed")
                    await closed
        operator.execute_command("ACL DELUSER", "narrow")
    assert [entry["channel"] for entry in logs if entry["event"] == "redis.channel_refused"] == ["closed"]


async def _entered(state: State, channel: str) -> None:
    async with state.pubsub.subscribed(channel, lambda _: None):
        return


async def test_what_others_publish_on_a_shared_server_may_be_anything(redis_url: str) -> None:
    got: asyncio.Queue[str] = asyncio.Queue()
    with redis.Redis.from_url(redis_url) as other:
        async with open_state(redis_url) as state, state.pubsub.subscribed("c", got.put_nowait):
            other.publish("c", b"\xff")
            await state.pubsub.publish("c", "text")
            assert [await asyncio.wait_for(got.get(), 60) for _ in range(2)] == ["\ufffd", "text"]


async def test_a_listener_that_fails_is_told_of_and_harms_nobody(state_url: str | None) -> None:
    got: asyncio.Queue[str] = asyncio.Queue()

    def failing(_payload: str) -> None:
        raise KeyError("mine")

    with capture_logs() as logs:
        async with (
            open_state(state_url) as state,
            state.pubsub.subscribed("c", failing),
            state.pubsub.subscribed("c", got.put_nowait),
        ):
            await state.pubsub.publish("c", "payload")
            assert await asyncio.wait_for(got.get(), 60) == "payload"
    assert [entry["log_level"] for entry in logs if entry["event"] == "redis.listener_failed"] == ["error"]
