"""Look-ups: what every request asks, over one connection to each server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state import State, lookup_connection, open_state
from tools.fleet.children import LOOPBACK, free_port
from tools.fleet.redis_server import RedisServer

PATIENCE_S = 60


async def until_it_answers(state: State) -> None:
    """Ask until an answer comes: a server that was away, or replaced."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await state.lookups.ask("EXISTS", "any")
            except StateUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def test_every_answer_goes_to_who_asked(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        for number in range(20):
            await state.redis.hset(f"h{number}", mapping={"a": f"a{number}", "b": "ü"})
        asked = [state.lookups.ask("HMGET", f"h{number}", "a", "none", "b") for number in range(20)]
        there = state.lookups.ask("EXISTS", "{x}1", "{x}2")
        assert [await answer for answer in asked] == [[f"a{number}", None, "ü"] for number in range(20)]
        assert await there == 0
        assert await state.lookups.ask("GET", "none") is None


async def test_a_wrong_command_is_an_error_of_its_own_caller_alone(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        await state.redis.set("text", "no hash")
        before = state.lookups.ask("GET", "text")
        wrong = state.lookups.ask("HMGET", "text", "a")
        after = state.lookups.ask("GET", "text")
        with pytest.raises(ResponseError):
            await wrong
        assert [await before, await after] == ["no hash", "no hash"]


async def test_a_caller_who_has_gone_takes_nobodys_answer(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        for number in range(10):
            await state.redis.set(f"k{number}", str(number))
        asked = [state.lookups.ask("GET", f"k{number}") for number in range(10)]
        for gone in asked[::2]:
            gone.cancel()
        assert [await answer for answer in asked[1::2]] == ["1", "3", "5", "7", "9"]


async def test_a_script_that_the_server_does_not_know_is_told_to_it(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        script = state.redis.register_script("return {KEYS[1], KEYS[2], ARGV[1], redis.call('INCR', KEYS[1])}")
        await state.redis.script_flush()
        asked = [state.lookups.run(script, ["{t}a", "{t}b"], [7]) for _ in range(3)]
        answers = [await answer for answer in asked]
        assert [answer[:3] for answer in answers] == [["{t}a", "{t}b", "7"]] * 3
        assert sorted(answer[3] for answer in answers) == [1, 2, 3]


async def test_a_lost_connection_is_told_to_all_who_wait_and_opened_again_for_the_next(redis_url: str) -> None:
    with capture_logs() as logs:
        async with open_state(redis_url) as state, open_state(redis_url) as other:
            await state.greet()
            await until_it_answers(state)
            await other.redis.client_pause(PATIENCE_S * 1000, all=False)  # writes wait, so that some are on their way
            asked = [state.lookups.ask("SET", "{k}", "v", key="{k}") for _ in range(5)]
            await other.redis.client_kill_filter(_type="normal", skipme=True)
            for answer in asked:
                with pytest.raises(StateUnavailable, match="may have been done"):
                    await answer
            assert not state.contact.settled, "Redis may have been restarted"
            await other.redis.client_unpause()
            assert await state.lookups.ask("GET", "none") is None
    assert [entry["event"] for entry in logs if "lookups" in entry["event"]] == [
        "redis.lookups_lost",
        "redis.lookups_renewed",
    ]


async def test_while_redis_is_away_who_asks_hears_so_and_afterwards_is_answered(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    port = free_port()
    with capture_logs() as logs:
        async with open_state(f"redis://{LOOPBACK}:{port}") as state:
            for _ in range(5):
                asked = [state.lookups.ask("EXISTS", "any") for _ in range(10)]
                for answer in asked:
                    with pytest.raises(StateUnavailable, match="Connect call failed"):
                        await answer
            start_private_redis(port=port)
            assert await state.lookups.ask("EXISTS", "any") == 0
    assert len([entry for entry in logs if entry["event"] == "redis.lookups_refused"]) == 1


async def test_a_redis_that_stands_still_is_given_up_and_asked_again_when_it_goes_on(
    start_private_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup_connection, "TICK_S", 0.02)
    monkeypatch.setattr(lookup_connection, "CONNECT_S", 0.2)
    monkeypatch.setattr(lookup_connection, "MOST_UNANSWERED", 100)
    server = start_private_redis()
    assert server.child is not None
    async with open_state(server.url) as state:
        await until_it_answers(state)
        os.kill(server.child.process.pid, signal.SIGSTOP)
        try:
            asked = [state.lookups.ask("GET", "k" * 1000) for _ in range(300)]
            ends = await asyncio.gather(*asked, return_exceptions=True)
            assert Counter(map(type, ends)) == {StateUnavailable: 100, StateBusy: 200}
            assert "unanswered" in str(ends[0])
            with pytest.raises(StateUnavailable):  # it still takes connections, and says nothing on them
                await state.lookups.ask("GET", "k")
        finally:
            os.kill(server.child.process.pid, signal.SIGCONT)
        await until_it_answers(state)


async def test_a_connection_that_the_server_closed_since_nobody_used_it_is_opened_again(redis_url: str) -> None:
    with capture_logs() as logs:
        async with open_state(redis_url) as state, open_state(redis_url) as other:
            for times in range(1, 4):
                assert await state.lookups.ask("EXISTS", "any") == 0
                await other.redis.client_kill_filter(_type="normal", skipme=True)
                async with asyncio.timeout(PATIENCE_S):
                    while len(lost := [entry for entry in logs if entry["event"] == "redis.lookups_lost"]) < times:
                        await asyncio.sleep(0.01)
    assert [(entry["log_level"], entry["unanswered"]) for entry in lost] == [("info", 0)] * 3


async def test_nothing_is_asked_once_the_worker_has_given_redis_up(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        await until_it_answers(state)
        state.contact.leave(0)
        state.contact.broken()
        with pytest.raises(StateUnavailable, match="leaves"):
            await state.lookups.ask("EXISTS", "any")


async def test_closing_tells_all_who_wait_and_leaves_no_task(redis_url: str) -> None:
    before = asyncio.all_tasks()
    async with open_state(redis_url) as other:
        async with open_state(redis_url) as state:
            await until_it_answers(state)
            await other.redis.client_pause(PATIENCE_S * 1000, all=False)
            waiting = state.lookups.ask("SET", "k", "v")
        with pytest.raises(StateUnavailable, match="closed"):
            await waiting
        with pytest.raises(StateUnavailable, match="leaves"):
            await state.lookups.ask("GET", "k")
        await other.redis.client_unpause()
    assert asyncio.all_tasks() == before
