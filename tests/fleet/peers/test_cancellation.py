"""Callers that leave: the handler is cancelled, and what was asked of the client withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

# -- callers that leave -----------------------------------------------------------------------------------------------


async def left(call: asyncio.Task[Any]) -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_caller_that_leaves_cancels_the_handler(state_url: str | None, open_fleet: Any, work: Any) -> None:
    async with open_fleet(state_url) as fleet:
        one, two = await fleet.start("w1"), await fleet.start("w2")
        async with two.peers.serving("work", work):
            call = asyncio.create_task(one.peers.call("w2", "work", {}))
            await work.began.wait()
            await left(call)
            await asyncio.wait_for(work.cancelled.wait(), 120)
    assert work.lost is False


async def test_a_cancellation_that_is_lost_is_sent_again_until_it_was_heard(fleet: Any, work: Any) -> None:
    lost: list[str] = []

    def lossy(frame: dict[str, Any], payload: str) -> Sequence[str]:
        if frame["kind"] == "cancel" and len(lost) < 3:
            lost.append(payload)
            return ()
        return (payload,)

    one, two = await fleet.start("w1", lossy), await fleet.start("w2")
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {}))
        await work.began.wait()
        await left(call)
        await asyncio.wait_for(work.cancelled.wait(), 120)
        async with asyncio.timeout(60):
            while one.peers._withdrawing:
                await asyncio.sleep(0.01)
    assert one.pubsub.kinds().count("cancel") == len(lost) + 1


async def test_a_call_that_is_cancelled_before_it_arrives_never_begins(fleet: Any, work: Any) -> None:
    held: list[str] = []

    def late(frame: dict[str, Any], payload: str) -> Sequence[str]:
        if frame["kind"] == "call":
            held.append(payload)
            return ()
        return (payload, *held)

    one, two = await fleet.start("w1", late), await fleet.start("w2")
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {}, once=False))
        while not held:
            await asyncio.sleep(0)
        await left(call)
        async with asyncio.timeout(60):
            while one.peers._withdrawing:
                await asyncio.sleep(0.01)
    assert "cancel" in one.pubsub.kinds()
    assert work.calls == 0


async def test_a_question_is_withdrawn_from_the_client_when_its_call_is_over(fleet: Any, person: Any) -> None:
    async def impatient(params: Any, channel: Any) -> Any:
        asking = asyncio.ensure_future(channel.ask("who", {}))
        while not person.asked:
            await asyncio.sleep(0)
        asking.cancel()
        return {"asked": True}

    person.answering.clear()
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("ask", impatient), asyncio.timeout(60):
        assert await one.peers.call("w2", "ask", {}, person) == {"asked": True}
