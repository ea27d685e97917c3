"""Clients that leave, workers that die, and a Redis that drops connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.sessions.parking.forward import METHOD
from tools.fleet.redis_server import RedisServer
from tools.messages import text

ANSWER = {"elicitation-0": {"action": "accept", "content": {"name": "a"}}}


@pytest.fixture(params=["w0", "w1"], ids=["at the holder", "through another worker"])
def via(request: pytest.FixtureRequest) -> str:
    """Which worker gets the retries of a call that is parked on w0."""
    name: str = request.param
    return name


async def test_a_client_that_leaves_before_any_question_cancels_its_call(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        call = asyncio.create_task(fleet.call("w0", "hold_first"))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        call.cancel()
        await asyncio.wait_for(fleet.gates.cancelled.wait(), 60)
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_client_that_leaves_a_retry_cancels_the_parked_call(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "hold")
        retry = {"state": asked["requestState"], "responses": ANSWER}
        call = asyncio.create_task(fleet.call(via, "hold", **retry))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        call.cancel()
        await asyncio.wait_for(fleet.gates.cancelled.wait(), 60)
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(MCPError, match="cancelled"):
            await fleet.call(via, "hold", **retry)


async def test_one_of_two_identical_retries_may_leave(state_url: str | None, open_fleet: Any, via: str) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "hold")
        retry = {"state": asked["requestState"], "responses": ANSWER}
        leaving = asyncio.create_task(fleet.call(via, "hold", **retry))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        staying = asyncio.create_task(fleet.call("w0", "hold", **retry))
        await asyncio.sleep(0)  # it takes its seat in its first step
        leaving.cancel()
        await asyncio.wait({leaving})
        fleet.gates.release.set()
        assert text(await asyncio.wait_for(staying, 60)) == "held a"


async def test_a_client_is_told_that_its_call_was_lost_with_its_worker(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        await fleet.kill("w0")
        started = time.monotonic()
        with pytest.raises(MCPError, match="lost with the worker") as lost:
            await fleet.call("w1", "twice", state=asked["requestState"], responses=ANSWER)
        assert lost.value.data == {"reason": "worker_lost", "retry": False}
        assert time.monotonic() - started < 20


async def test_a_client_that_waits_is_told_when_the_worker_dies(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "hold")
        call = asyncio.create_task(fleet.call("w1", "hold", state=asked["requestState"], responses=ANSWER))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        await fleet.kill("w0")
        assert fleet.gates.cancelled.is_set()
        with pytest.raises(MCPError, match="lost with the worker"):
            await asyncio.wait_for(call, 60)


async def test_reading_again_is_safe_when_a_worker_was_lost(open_fleet: Any) -> None:
    async with open_fleet(None) as fleet:
        asked = await fleet.call("w0", "test://r", method="resources/read")
        await fleet.kill("w0")
        with pytest.raises(MCPError) as lost:
            await fleet.call("w1", "test://r", method="resources/read", state=asked["requestState"])
        assert lost.value.data["retry"] is True


async def test_a_worker_that_leaves_tells_its_own_clients(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        asked = await fleet.call("w0", "hold")
        call = asyncio.create_task(fleet.call("w0", "hold", state=asked["requestState"], responses=ANSWER))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        fleet.workers["w0"].leave.set()
        with pytest.raises(MCPError, match="lost with the worker"):
            await asyncio.wait_for(call, 60)
        assert fleet.gates.cancelled.is_set()


async def test_a_worker_that_has_left_says_so(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        worker = fleet.workers["w0"]
        worker.leave.set()
        await asyncio.wait({worker.task})
        with pytest.raises(MCPError, match="starting or leaving") as refused:
            await fleet.call("w0", "echo", arguments={"text": "x"})
        assert refused.value.data["retry"] is True


async def test_when_the_relaying_worker_dies_the_call_goes_on_for_a_client_that_comes_back(
    state_url: str | None, open_fleet: Any
) -> None:
    async with open_fleet(state_url, silent_after=0.05) as fleet:
        asked = await fleet.call("w0", "hold")
        await fleet.asked_by_a_lost_worker(asked, ANSWER)
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fleet.gates.cancelled.wait(), 0.5)
        fleet.gates.release.set()
        done = await fleet.call("w0", "hold", state=asked["requestState"], responses=ANSWER)
        assert text(done) == "held a"


async def test_when_the_relaying_worker_dies_and_nobody_comes_back_the_call_expires(
    state_url: str | None, open_fleet: Any
) -> None:
    async with open_fleet(state_url, silent_after=0.05, ttl=0.5) as fleet:
        asked = await fleet.call("w0", "hold")
        await fleet.asked_by_a_lost_worker(asked, ANSWER)
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        await asyncio.wait_for(fleet.gates.cancelled.wait(), 60)
        assert fleet.workers["w0"].parking.parked == 0


async def test_a_client_that_comes_back_after_the_relaying_worker_died_is_worked_for_as_long_as_it_takes(
    open_fleet: Any, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    async with open_fleet(None, silent_after=0.05, ttl=4) as fleet:
        asked = await fleet.call("w0", "hold")
        await fleet.asked_by_a_lost_worker(asked, ANSWER)
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        [parked] = fleet.workers["w0"].parking._registry.running
        async with asyncio.timeout(60):
            while parked._timer is None:  # it begins to wait for its client when the relaying worker is lost
                await asyncio.sleep(0.01)
        await pass_time(3.5)
        back = asyncio.create_task(fleet.call("w0", "hold", state=asked["requestState"], responses=ANSWER))
        await pass_time(0)
        await pass_time(6)
        fleet.gates.release.set()
        assert text(await asyncio.wait_for(back, 60)) == "held a"


async def test_what_a_call_came_to_after_the_relaying_worker_died_is_kept_from_then_on(
    open_fleet: Any, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    async with open_fleet(None, silent_after=0.05, ttl=4) as fleet:
        asked = await fleet.call("w0", "hold")
        await fleet.asked_by_a_lost_worker(asked, ANSWER)
        await asyncio.wait_for(fleet.gates.entered.wait(), 120)
        [parked] = fleet.workers["w0"].parking._registry.running
        async with asyncio.timeout(60):
            while parked._timer is None:  # it begins to wait for its client when the relaying worker is lost
                await asyncio.sleep(0.01)
        fleet.gates.release.set()
        async with asyncio.timeout(60):
            while fleet.workers["w0"].parking.parked:
                await asyncio.sleep(0.01)
        await pass_time(4.5)
        assert text(await fleet.call("w0", "hold", state=asked["requestState"], responses=ANSWER)) == "held a"


async def test_a_retry_survives_pubsub_connections_being_killed(redis_url: str, open_fleet: Any) -> None:
    async with open_fleet(redis_url) as fleet:
        asked = await fleet.call("w0", "hold")
        call = asyncio.create_task(fleet.call("w1", "hold", state=asked["requestState"], responses=ANSWER))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        await fleet.workers["w0"].state.redis.client_kill_filter(_type="pubsub")
        fleet.gates.release.set()
        assert text(await asyncio.wait_for(call, 60)) == "held a"


async def test_a_retry_whose_question_was_lost_is_asked_again(redis_url: str, open_fleet: Any) -> None:
    async with open_fleet(redis_url) as fleet:
        for _ in range(3):
            asked = await fleet.call("w0", "twice")
            retry = fleet.call("w1", "twice", state=asked["requestState"], responses=ANSWER)
            call = asyncio.create_task(retry)
            await fleet.workers["w0"].state.redis.client_kill_filter(_type="pubsub")
            assert list((await asyncio.wait_for(call, 60))["inputRequests"]) == ["elicitation-1"]


async def test_without_redis_calls_go_on_at_their_holder_and_the_others_say_so(
    start_private_redis: Callable[..., RedisServer], open_fleet: Any
) -> None:
    server = start_private_redis()
    assert server.child is not None
    async with open_fleet(server.url) as fleet:
        asked = await fleet.call("w0", "twice")
        server.child.kill()
        with pytest.raises(MCPError, match="cannot be reached now") as away:
            await asyncio.wait_for(fleet.call("w1", "twice", state=asked["requestState"], responses=ANSWER), 60)
        assert away.value.data["retry"] is True
        second = await fleet.call("w0", "twice", state=asked["requestState"], responses=ANSWER)
        assert list(second["inputRequests"]) == ["elicitation-1"]


async def test_a_retry_of_another_shape_harms_nobody(open_fleet: Any) -> None:
    wrong = {"principal": "p", "answers": {}, "terms": {"capabilities": None, "level": None}}
    async with open_fleet(None) as fleet:
        peers = fleet.workers["w1"].peers
        for retry in ({}, wrong, {**wrong, "ticket": "abc"}, {**wrong, "ticket": [5, "w0", 1]}):
            with pytest.raises(MCPError, match="Invalid or expired requestState"):
                await peers.call("w0", METHOD, retry, once=False)
        asked = await fleet.call("w0", "twice")
        second = await fleet.call("w1", "twice", state=asked["requestState"], responses=ANSWER)
        assert second["resultType"] == "input_required"


async def test_forty_clients_at_once_each_get_their_own_answers(state_url: str | None, open_fleet: Any) -> None:
    async def talk(fleet: Any, number: int) -> str:
        workers = ("w0", "w1") if number % 2 else ("w1", "w0")
        result = await fleet.call(workers[0], "twice")
        for turn in range(2):
            [key] = result["inputRequests"]
            answer = {key: {"action": "accept", "content": {"name": f"{number}.{turn}"}}}
            result = await fleet.call(workers[turn % 2], "twice", state=result["requestState"], responses=answer)
        return text(result)

    async with open_fleet(state_url) as fleet:
        answers = await asyncio.wait_for(asyncio.gather(*(talk(fleet, n) for n in range(40))), 60)
        assert answers == [f"{n}.0 {n}.1 for alice" for n in range(40)]
