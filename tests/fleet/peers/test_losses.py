"""Workers that die, restart or run another version: nothing is done twice, and each end is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import CallTiming, PeerLost, frames
from switchboard.fleet.peers.frames import PROTOCOL
from switchboard.timing import Timing
from tests.fleet.peers.conftest import IMPATIENT
from tools.fleet.redis_server import RedisServer


def losing(*kinds: str) -> Callable[[dict[str, Any], str], Sequence[str]]:
    """A rule by which frames of these kinds are lost, each time."""
    return lambda frame, payload: () if frame["kind"] in kinds else (payload,)


async def test_a_worker_that_takes_long_is_not_lost_as_long_as_it_gives_signs_of_life(fleet: Any, work: Any) -> None:
    timing = replace(IMPATIENT, begin=20)
    one, two = await fleet.start("w1", timing=timing), await fleet.start("w2", timing=timing)
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
        done, _ = await asyncio.wait([call], timeout=1.5 * timing.silent)
        assert not done
        work.release.set()
        await call
    assert work.calls == 1


async def test_a_call_to_a_worker_that_is_not_there_did_not_begin(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        one = await fleet.start("w1", timing=IMPATIENT)
        with pytest.raises(PeerLost, match="does not listen, or runs another version; it did not begin") as lost:
            await one.peers.call("w2", "work", {})
        assert (lost.value.begun, lost.value.dead) == (False, False)
        fleet.dead.add("w2")
        with pytest.raises(PeerLost, match="the worker that served it was lost; it did not begin") as dead:
            await one.peers.call("w2", "work", {})
        assert (dead.value.begun, dead.value.dead) == (False, True)


async def test_a_call_to_a_worker_that_listened_a_moment_ago_is_given_up_at_once_when_it_does_not(
    state_url: str | None, open_fleet: Any
) -> None:
    async with open_fleet(state_url) as fleet:
        one = await fleet.start("w1")  # whose patience would keep it waiting
        with pytest.raises(PeerLost, match="does not listen") as lost:
            await one.peers.call("w2", "work", {}, listens=True)
        assert not lost.value.begun
        assert one.pubsub.kinds() == ["call"]


async def test_a_call_that_was_given_up_is_not_served_however_late_it_arrives(fleet: Any, work: Any) -> None:
    late: list[str] = []

    def kept(frame: dict[str, Any], payload: str) -> Sequence[str]:
        late.append(payload)
        return ()

    one, two = await fleet.start("w1", kept, timing=IMPATIENT), await fleet.start("w2")
    work.release.set()
    async with two.peers.serving("work", work):
        with pytest.raises(PeerLost, match="does not answer") as lost:
            await one.peers.call("w2", "work", {})
        assert not lost.value.begun
        for payload in late:
            await two.pubsub.publish(f"mcp:peer:{PROTOCOL}:w2", payload)
        one.pubsub.rule = None
        await one.peers.call("w2", "work", {})
    assert work.calls == 1


@pytest.mark.parametrize("once", [True, False], ids=["once", "as often as it takes"])
async def test_a_worker_that_begins_and_is_not_heard_may_have_done_something(fleet: Any, work: Any, once: bool) -> None:
    mute = losing(*frames.FROM_SERVER)
    one, two = await fleet.start("w1", timing=IMPATIENT), await fleet.start("w2", mute)
    async with two.peers.serving("work", work):
        with pytest.raises(PeerLost, match="it may have had effects: check before trying again") as lost:
            await one.peers.call("w2", "work", {}, once=once)
        assert lost.value.begun
        await asyncio.wait_for(work.cancelled.wait(), 60)


async def test_a_worker_is_not_taken_for_dead_because_redis_cannot_be_asked_for_its_heartbeat(
    fleet: Any, work: Any
) -> None:
    asked = asyncio.Event()

    async def unknown(worker: str) -> bool:
        asked.set()
        raise StateUnavailable("Redis is away")

    fleet.alive = unknown
    one, two = await fleet.start("w1", timing=replace(IMPATIENT, begin=20, silent=20)), await fleet.start("w2")
    async with two.peers.serving("work", work), asyncio.timeout(60):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
        two.pubsub.rule = losing(*frames.FROM_SERVER)
        await asked.wait()
        two.pubsub.rule = None
        work.release.set()
        assert await call == {"did": {}}


async def test_a_worker_that_dies_is_noticed_by_its_heartbeat_before_the_silence_is_too_long(
    fleet: Any, work: Any
) -> None:
    one = await fleet.start("w1", timing=replace(IMPATIENT, begin=20, silent=20))
    two = await fleet.start("w2")
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
        two.pubsub.rule = losing(*frames.FROM_SERVER)
        fleet.dead.add("w2")
        with pytest.raises(PeerLost, match="the worker that served it was lost; it may have had effects") as lost:
            await asyncio.wait_for(call, 120)
    assert (lost.value.begun, lost.value.dead) == (True, True)


@pytest.mark.parametrize("once", [True, False], ids=["once", "as often as it takes"])
async def test_a_call_is_lost_with_the_earlier_life_of_a_worker_that_restarts(
    fleet: Any, work: Any, once: bool
) -> None:
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("work", work, grace=0.1):
        call = asyncio.create_task(one.peers.call("w2", "work", {}, once=once))
        await work.began.wait()
        while "alive" not in two.pubsub.kinds():
            await asyncio.sleep(0.01)
        two.pubsub.rule = losing(*frames.FROM_SERVER)
    await fleet.stop("w2")
    again = await fleet.start("w2")
    async with again.peers.serving("work", work):
        with pytest.raises(PeerLost, match="does not know it any more; it may have had effects"):
            await asyncio.wait_for(call, 120)
    assert work.calls == 1


async def test_what_an_earlier_life_of_a_worker_began_is_not_begun_again(fleet: Any, work: Any) -> None:
    one, two = await fleet.start("w1"), await fleet.start("w2", losing(*frames.FROM_SERVER))
    async with two.peers.serving("work", work, grace=0.1):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
    await fleet.stop("w2")
    again = await fleet.start("w2")
    async with again.peers.serving("work", work):
        with pytest.raises(PeerLost, match="its worker was started anew; it may have had effects"):
            await asyncio.wait_for(call, 120)
    assert work.calls == 1


async def test_workers_of_two_versions_do_not_begin_each_others_calls_and_say_why(fleet: Any, work: Any) -> None:
    new = await fleet.start("w1", timing=IMPATIENT, protocol=PROTOCOL + 1)
    old = await fleet.start("w2", timing=IMPATIENT)
    async with old.peers.serving("work", work), new.peers.serving("work", work):
        for caller, called in ((new, "w2"), (old, "w1")):
            with pytest.raises(PeerLost, match="runs another version; it did not begin"):
                await caller.peers.call(called, "work", {})
    assert work.calls == 0


async def test_the_handler_is_cancelled_and_told_when_its_caller_is_lost(fleet: Any, work: Any) -> None:
    one = await fleet.start("w1")
    two = await fleet.start("w2", timing=replace(IMPATIENT, abandoned=0.3))
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
        one.pubsub.rule = losing(*frames.FROM_CALLER)
        await asyncio.wait_for(work.cancelled.wait(), 60)
        with pytest.raises(PeerLost, match="its caller was lost"):
            await asyncio.wait_for(call, 60)
    assert work.lost is True


# -- Redis ------------------------------------------------------------------------------------------------------------


async def test_while_redis_is_away_what_must_not_begin_twice_waits_and_the_rest_is_given_up(
    start_private_redis: Callable[..., RedisServer], open_fleet: Any, work: Any
) -> None:
    redis = start_private_redis()
    assert redis.child is not None
    timing = replace(IMPATIENT, begin=20, silent=0.5, away=1.5)
    async with open_fleet(redis.url) as fleet:
        one, two = await fleet.start("w1", timing=timing), await fleet.start("w2")
        async with two.peers.serving("work", work, grace=0.1):
            often = asyncio.create_task(one.peers.call("w2", "work", {}, once=False))
            once = asyncio.create_task(one.peers.call("w2", "work", {}))
            while work.calls < 2:
                await asyncio.sleep(0.01)
            redis.child.kill()
            with pytest.raises(PeerLost):
                await asyncio.wait_for(often, 120)
            assert not once.done()
            with pytest.raises(PeerLost) as lost:
                await asyncio.wait_for(once, 120)
            assert lost.value.begun
            with pytest.raises(StateUnavailable):
                await one.peers.call("w2", "work", {})


async def test_a_worker_that_is_not_running_calls_nobody(fleet: Any) -> None:
    one = await fleet.start("w1")
    await fleet.stop("w1")
    with pytest.raises(PeerLost, match="this worker is not running; it did not begin"):
        await one.peers.call("w2", "work", {})


def test_the_times_of_calls_go_with_those_of_the_fleet() -> None:
    assert CallTiming.of(Timing()) == CallTiming()
    assert CallTiming.of(Timing(lease_s=1.2)).silent == CallTiming().silent / 10
