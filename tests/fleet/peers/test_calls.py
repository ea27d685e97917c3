"""A call to another worker: served once, in order, whatever pub/sub does to its frames."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError, NoBackChannelError

from switchboard.fleet.peers import NO_CLIENT, CallTiming, NotHere, PeerLost
from switchboard.fleet.peers.frames import MAX_WAITING

EXPECTED = ["before", (1.0, 3.0, "one"), (2.0, None, None), "after"]


async def chatty(params: Any, channel: Any) -> Any:
    """Says four things, and asks two."""
    await channel.notify("notifications/message", {"data": "before"})
    await channel.progress(1.0, 3.0, "one")
    await channel.progress(2.0, None, None)
    first = await channel.ask("first", {"n": 1})
    second = await channel.ask("second", None)
    await channel.notify("notifications/message", {"data": "after"})
    return {"answers": [first, second], **params}


CHATTED = {"answers": [{"answer": {"n": 1}}, {"answer": None}], "x": 1}


async def test_what_a_handler_says_and_asks_reaches_the_client_in_order_and_its_result_the_caller(
    state_url: str | None, open_fleet: Any, person: Any
) -> None:
    async with open_fleet(state_url) as fleet:
        one, two = await fleet.start("w1"), await fleet.start("w2")
        async with two.peers.serving("chat", chatty):
            assert await one.peers.call("w2", "chat", {"x": 1}, person) == CHATTED
    assert person.told == EXPECTED
    assert person.asked == ["first", "second"]


async def test_a_short_call_takes_three_redis_commands_and_one_that_may_repeat_takes_two(
    redis_url: str, open_fleet: Any, commands: Any
) -> None:
    async def echo(params: Any, channel: Any) -> Any:
        return dict(params)

    async with open_fleet(redis_url) as fleet:
        one, two = await fleet.start("w1"), await fleet.start("w2")
        async with two.peers.serving("echo", echo):
            async with commands() as once:
                assert await one.peers.call("w2", "echo", {"x": 1}) == {"x": 1}
            async with commands() as often:
                assert await one.peers.call("w2", "echo", {"x": 1}, once=False) == {"x": 1}
    assert once == ["PUBLISH", "SET", "PUBLISH"]
    assert often == ["PUBLISH", "PUBLISH"]


async def test_a_worker_may_call_itself(fleet: Any, person: Any) -> None:
    one = await fleet.start("w1")
    async with one.peers.serving("chat", chatty):
        assert await one.peers.call("w1", "chat", {"x": 1}, person) == CHATTED


async def test_a_handlers_error_is_raised_at_the_caller(fleet: Any) -> None:
    async def failing(params: Any, channel: Any) -> Any:
        raise MCPError(-32001, "deliberately", {"why": 1})

    async def breaking(params: Any, channel: Any) -> Any:
        raise KeyError("deliberately")

    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("fail", failing), two.peers.serving("break", breaking):
        with pytest.raises(MCPError, match="deliberately") as failed:
            await one.peers.call("w2", "fail", {})
        assert (failed.value.code, failed.value.data) == (-32001, {"why": 1})
        with pytest.raises(MCPError, match="KeyError"):
            await one.peers.call("w2", "break", {})


async def test_a_clients_refusal_is_raised_at_the_handler_and_without_a_client_nobody_can_be_asked(
    fleet: Any, person: Any
) -> None:
    refusals: list[MCPError] = []

    async def asking(params: Any, channel: Any) -> Any:
        try:
            await channel.ask("refuse", {})
        except MCPError as error:
            refusals.append(error)
        return {}

    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("ask", asking):
        await one.peers.call("w2", "ask", {}, person)
        await one.peers.call("w2", "ask", {})
    assert (refusals[0].code, refusals[0].data) == (-32042, {"why": "private"})
    assert "no back-channel" in refusals[1].message


@pytest.mark.parametrize("kind", ["call", "notify", "progress", "ask", "answer", "result"])
async def test_a_frame_that_is_lost_is_sent_again(fleet: Any, person: Any, kind: str) -> None:
    lost: list[str] = []

    def lossy(frame: dict[str, Any], payload: str) -> Sequence[str]:
        if frame["kind"] == kind and not lost:
            lost.append(payload)
            return ()
        return (payload,)

    one, two = await fleet.start("w1", lossy), await fleet.start("w2", lossy)
    async with two.peers.serving("chat", chatty), asyncio.timeout(60):
        assert await one.peers.call("w2", "chat", {"x": 1}, person) == CHATTED
    assert lost
    assert (person.told, person.asked) == (EXPECTED, ["first", "second"])


async def test_frames_that_come_twice_count_once(fleet: Any, person: Any) -> None:
    begun: list[Any] = []

    async def counting(params: Any, channel: Any) -> Any:
        begun.append(params)
        return await chatty(params, channel)

    def doubled(_: Any, payload: str) -> Sequence[str]:
        return (payload, payload)

    one, two = await fleet.start("w1", doubled), await fleet.start("w2", doubled)
    async with two.peers.serving("chat", counting):
        assert await one.peers.call("w2", "chat", {"x": 1}, person) == CHATTED
        assert await one.peers.call("w2", "chat", {"x": 1}, person) == CHATTED
    assert person.told == EXPECTED * 2
    assert person.asked == ["first", "second"] * 2
    assert len(begun) == 2


async def test_frames_that_overtake_each_other_are_put_in_order(fleet: Any, person: Any) -> None:
    held: list[str] = []

    def swapped(frame: dict[str, Any], payload: str) -> Sequence[str]:
        if not held and frame["kind"] in ("notify", "progress"):
            held.append(payload)
            return ()
        given = (payload, *held)
        held.clear()
        return given

    one, two = await fleet.start("w1"), await fleet.start("w2", swapped)
    async with two.peers.serving("chat", chatty):
        assert await one.peers.call("w2", "chat", {"x": 1}, person) == CHATTED
    assert person.told == EXPECTED


@pytest.mark.parametrize("seed", range(5))
async def test_thirty_calls_get_through_a_pubsub_that_loses_doubles_and_holds_back(
    fleet: Any, person: Any, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311
    held: list[str] = []
    begun: list[int] = []

    def bad(_: Any, payload: str) -> Sequence[str]:
        fate = dice.random()
        if fate < 0.2:
            return ()
        if fate < 0.4:
            return (payload, payload)
        if fate < 0.6:
            held.append(payload)
            return ()
        late, held[:] = held[:], []
        return (payload, *late)

    async def numbered(params: Any, channel: Any) -> Any:
        begun.append(params["n"])
        for step in range(5):
            await channel.notify("notifications/message", {"data": (params["n"], step)})
        return [await channel.ask("which", {"n": params["n"]}), params["n"]]

    one, two = await fleet.start("w1", bad), await fleet.start("w2", bad)
    async with two.peers.serving("count", numbered), asyncio.timeout(60):
        results = await asyncio.gather(*(one.peers.call("w2", "count", {"n": n}, person) for n in range(30)))
    assert results == [[{"answer": {"n": n}}, n] for n in range(30)]
    assert sorted(begun) == list(range(30))
    for n in range(30):
        assert [step for call, step in person.told if call == n] == list(range(5))


async def test_a_call_goes_on_when_pubsub_connections_are_killed(redis_url: str, open_fleet: Any, work: Any) -> None:
    async with open_fleet(redis_url) as fleet:
        one, two = await fleet.start("w1"), await fleet.start("w2")
        async with two.peers.serving("work", work), asyncio.timeout(60):
            call = asyncio.create_task(one.peers.call("w2", "work", {"x": 1}))
            await work.began.wait()
            await one.state.redis.client_kill_filter(_type="pubsub")
            work.release.set()
            assert await call == {"did": {"x": 1}}
    assert work.calls == 1


async def test_of_progress_that_comes_faster_than_it_is_taken_the_newest_is_told_and_comes_before_the_outcome(
    fleet: Any, person: Any
) -> None:
    many, said = 5 * MAX_WAITING, asyncio.Event()

    async def busy(params: Any, channel: Any) -> Any:
        for step in range(many):
            await channel.progress(step, many, None)
        said.set()
        return {}

    taken = asyncio.Event()

    class Slow(type(person)):  # type: ignore[misc]
        async def progress(self, progress: float, total: float | None, message: str | None) -> None:
            await taken.wait()
            await super().progress(progress, total, message)

    slow = Slow()
    one, two = await fleet.start("w1", timing=CallTiming()), await fleet.start("w2")
    async with two.peers.serving("busy", busy), asyncio.timeout(60):
        call = asyncio.create_task(one.peers.call("w2", "busy", {}, slow))
        await said.wait()
        taken.set()
        await call
    steps = [told[0] for told in slow.told]
    assert steps == sorted(set(steps))
    assert steps[-1] == many - 1
    assert len(steps) <= 2 * MAX_WAITING + 2, "at each end so many wait, one is being told, and one is the newest"


async def test_what_is_not_served_here_did_not_begin(fleet: Any) -> None:
    async def moved(params: Any, channel: Any) -> Any:
        raise NotHere("it is on another worker by now")

    one, two = await fleet.start("w1"), await fleet.start("w2")
    with pytest.raises(PeerLost, match="does not serve it; it did not begin: try again"):
        await one.peers.call("w2", "unknown", {})
    async with two.peers.serving("moved", moved):
        with pytest.raises(PeerLost, match="on another worker by now") as refused:
            await one.peers.call("w2", "moved", {})
    assert not refused.value.begun


async def test_what_was_begun_is_finished_when_a_method_is_served_no_longer(fleet: Any, work: Any) -> None:
    one, two = await fleet.start("w1"), await fleet.start("w2")
    leaving = asyncio.Event()

    async def lives() -> None:
        async with two.peers.serving("work", work):
            await leaving.wait()

    life = asyncio.create_task(lives())
    await asyncio.sleep(0)
    first = asyncio.create_task(one.peers.call("w2", "work", {"n": 1}))
    await work.began.wait()
    leaving.set()
    await asyncio.sleep(0)
    with pytest.raises(PeerLost, match="does not serve it"):
        await one.peers.call("w2", "work", {"n": 2})
    work.release.set()
    assert await first == {"did": {"n": 1}}
    await life
    assert work.calls == 1


async def test_what_a_leaving_worker_cannot_finish_may_have_had_effects(fleet: Any, work: Any) -> None:
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("work", work, grace=0.05):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
    with pytest.raises(PeerLost, match="its worker left before it answered; it may have had effects") as left:
        await call
    assert left.value.begun
    assert work.cancelled.is_set()


async def test_several_workers_are_asked_at_once_and_the_slow_ones_left_out(fleet: Any, work: Any) -> None:
    async def name(params: Any, channel: Any) -> Any:
        return params["question"]

    asker = await fleet.start("cli")
    for each in ("w1", "w2", "w3"):
        started = await fleet.start(each)
        handler = work if each == "w2" else name
        stack = fleet._lives[each]
        await stack.enter_async_context(started.peers.serving("name", handler, grace=0.1))
    answers = await asker.peers.broadcast(["w1", "w2", "w3", "gone"], "name", {"question": "?"}, 0.5)
    assert answers == {"w1": "?", "w3": "?"}
    await asyncio.wait_for(work.cancelled.wait(), 60)


async def test_no_client_takes_notifications_and_answers_nothing() -> None:
    await NO_CLIENT.notify("x", None)
    await NO_CLIENT.progress(1, None, None)
    with pytest.raises(NoBackChannelError):
        await NO_CLIENT.ask("x", None)
