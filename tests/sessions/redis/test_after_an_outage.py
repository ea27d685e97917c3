"""Leases lapse while Redis is away, though their holders live: nobody is taken for dead before they could renew."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace

from switchboard.sessions.streams.frames import Frame
from switchboard.sessions.streams.reply_follower import ReplyFollower
from switchboard.sessions.streams.stream_quota import StreamQuota
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from switchboard.timing import Timing
from tools.fleet.workers import HASTE

TIMING = Timing()

SID = "s" * 48
STREAM = "stream"


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def lapsed(state: State) -> None:
    """A running reply whose lease has lapsed."""
    await state.redis.hset(state.keys.session(SID), mapping={"owner": "alice"})
    await state.redis.xadd(state.keys.events(SID, STREAM), {"o": json.dumps([7])})


async def test_a_reply_whose_lease_lapsed_in_an_outage_is_ended_only_when_nobody_renewed_it_afterwards() -> None:
    hands = Hands()
    async with open_state(None, timing=HASTE) as opened:
        state = replace(opened, contact=Contact(hands))
        state.contact.answered()
        await lapsed(state)
        follower = ReplyFollower(state, SID, STREAM, "0-0", 3_000)
        async with aclosing(follower.frames()) as frames:
            looking: asyncio.Task[Frame | None] = asyncio.create_task(anext(frames))
            done, _ = await asyncio.wait([looking], timeout=4 * HASTE.poll_s)
            assert not done, "the worker that writes it may not have renewed yet"
            hands.now += TIMING.settled_s / 2
            state.contact.answered()
            hands.now += TIMING.settled_s / 2
            async with asyncio.timeout(60):
                frame = await looking
    assert frame is not None
    assert json.loads(frame.data)["error"]["data"]["reason"] == "worker_lost"


async def test_the_streams_of_a_worker_whose_heartbeat_lapsed_in_an_outage_still_count() -> None:
    hands = Hands()
    async with open_state(None) as opened:
        state = replace(opened, contact=Contact(hands))
        state.contact.answered()
        held = StreamQuota(state, "w1", 1)
        key = held._key("alice")
        await state.redis.hset(key, mapping={"w2": "1"})
        assert sum((await held._of_the_living("alice", {"w2": 1})).values()) == 1
        assert await state.redis.hget(key, "w2") == "1"
        hands.now += TIMING.settled_s
        state.contact.answered()
        hands.now += TIMING.settled_s
        assert await held._of_the_living("alice", {"w2": 1}) == {}
