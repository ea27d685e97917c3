"""Writes that a session's end, or a takeover, refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from redis.commands.core import AsyncScript

from switchboard.sessions.streams.frames import frames
from switchboard.state import Scripts, State, open_state
from switchboard.state.keys import MAX_FRAMES
from switchboard.timing import Timing

TIMING = Timing()

SID = "sid"
STREAM = "stream"
RECORD_MS = 60_000


@dataclass(frozen=True)
class Session:
    """One session's keys, and its scripts with the arguments that do not matter filled in."""

    state: State

    @property
    def record(self) -> str:
        return self.state.keys.session(SID)

    @property
    def events(self) -> str:
        return self.state.keys.events(SID, STREAM)

    @property
    def lease(self) -> str:
        return self.state.keys.exchange(SID, STREAM)

    @property
    def slot(self) -> str:
        return self.state.keys.inbox(SID, "1")

    async def begin(self) -> None:
        await self.state.redis.hset(self.record, mapping={"owner": "me"})
        await self.state.redis.pexpire(self.record, RECORD_MS)

    async def open(self, epoch: str) -> str:
        keys = [self.record, self.events, self.lease]
        return Scripts.written(await self.state.scripts.open(keys, [epoch, str(TIMING.lease_ms), "opening"])).verdict

    async def emit(self, epoch: str, frame: str, *, final: bool = False, number: int | None = None) -> str:
        number = next(NUMBERS) if number is None else number
        args: list[str | int] = [epoch, TIMING.lease_ms, "channel", MAX_FRAMES, frame, int(final), number]
        reply = await self.state.scripts.emit([self.record, self.events, self.lease], args)
        return Scripts.written(reply).verdict

    async def end_orphan(self, *frames: str) -> str:
        keys = [self.record, self.events, self.lease]
        return Scripts.written(await self.state.scripts.end_orphan(keys, ["channel", *frames])).verdict

    async def renew(self, epoch: str) -> str:
        keys = [self.record, self.lease]
        return Scripts.written(
            await self.state.scripts.renew(keys, [epoch, str(TIMING.lease_ms), str(RECORD_MS)])
        ).verdict

    async def endings(self) -> list[str]:
        entries: Any = await self.state.redis.xrange(self.events)
        return [fields["f"] for _, fields in entries if fields.get("e") == "1"]


NUMBERS = itertools.count(1)
"""Frames are numbered by their writer; these are never equal unless a test wants them to be."""

Call = Callable[[Session], tuple[AsyncScript, list[str], list[str | int]]]

WRITES: dict[str, Call] = {
    "append": lambda s: (s.state.scripts.append, [s.record, s.events], ["channel", 10, "frame"]),
    "open": lambda s: (s.state.scripts.open, [s.record, s.events, s.lease], ["w:1", TIMING.lease_ms, "opening"]),
    "emit": lambda s: (
        s.state.scripts.emit,
        [s.record, s.events, s.lease],
        ["w:1", TIMING.lease_ms, "channel", 10, "frame", 0, 1],
    ),
    "emit final": lambda s: (
        s.state.scripts.emit,
        [s.record, s.events, s.lease],
        ["w:1", TIMING.lease_ms, "channel", 10, "frame", 1, 1],
    ),
    "bury": lambda s: (s.state.scripts.end_orphan, [s.record, s.events, s.lease], ["channel", "lost"]),
    "renew": lambda s: (s.state.scripts.renew, [s.record, s.lease], ["w:1", TIMING.lease_ms, RECORD_MS]),
    "fill": lambda s: (s.state.scripts.fill, [s.record, s.slot], ["channel", "answer"]),
    "place": lambda s: (s.state.scripts.place, [s.record, s.slot], [1000, ""]),
    "attach": lambda s: (s.state.scripts.attach, [s.record, s.events], ["token", "channel"]),
    "detach": lambda s: (s.state.scripts.detach, [s.record], ["token"]),
    "subscribe": lambda s: (
        s.state.scripts.subscribe,
        [s.record, s.state.keys.subscriptions(SID)],
        ["add", "test://1", "channel", 10],
    ),
    "update": lambda s: (s.state.scripts.update, [s.record], ["level", "debug"]),
}


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_rises_again_after_delete(state_url: str | None, write: str) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await state.redis.delete(session.record)
        script, keys, args = WRITES[write](session)
        assert await script(keys, args) == []
        assert await state.redis.keys("*") == []


@pytest.mark.parametrize("write", [name for name in WRITES if name != "detach"])
async def test_what_a_session_writes_lives_no_longer_than_its_record(state_url: str | None, write: str) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        script, keys, args = WRITES[write](session)
        assert await script(keys, args)
        for key in await state.redis.keys("*"):
            assert 0 < await state.redis.pttl(key) <= RECORD_MS


async def test_a_reply_has_one_holder(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        assert await session.open("w1:1") == "ok"
        assert await session.open("w2:1") == "fenced"
        assert await session.emit("w2:1", "intruding") == "fenced"
        assert await session.renew("w2:1") == "fenced"
        assert await session.emit("w1:1", "mine") == "ok"


async def test_a_holder_that_was_taken_over_is_refused(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        await state.redis.set(session.lease, "w2:1", px=TIMING.lease_ms)
        assert await session.emit("w1:1", "late") == "fenced"
        assert await session.emit("w1:1", "late", final=True) == "fenced"
        assert await session.renew("w1:1") == "fenced"
        assert await state.redis.get(session.lease) == "w2:1"


async def test_a_paused_holder_cannot_write_a_second_ending(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        await state.redis.delete(session.lease)  # as when it expires while the holder is paused
        assert await session.end_orphan("worker lost") == "ok"
        assert await session.emit("w1:1", "the result", final=True) == "fenced"
        assert await session.renew("w1:1") == "fenced"
        assert await session.end_orphan("worker lost") == "fenced"
        assert await session.endings() == ["worker lost"]


async def test_a_reply_that_ended_cannot_be_buried(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        assert await session.end_orphan("worker lost") == "fenced"
        assert await session.emit("w1:1", "the result", final=True) == "ok"
        assert await session.end_orphan("worker lost") == "fenced"
        assert await session.emit("w1:1", "more") == "fenced"
        assert await session.endings() == ["the result"]


async def test_only_the_last_of_several_burial_frames_is_an_ending(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        assert await session.end_orphan("one", "two", "three") == "ok"
        assert await session.endings() == ["three"]


@pytest.mark.parametrize("goes_on", ["emit", "renew"])
async def test_a_holder_whose_lease_expired_but_was_not_taken_over_goes_on(state_url: str | None, goes_on: str) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        await state.redis.delete(session.lease)
        verdict = await session.emit("w1:1", "frame") if goes_on == "emit" else await session.renew("w1:1")
        assert verdict == "ok"
        assert await state.redis.get(session.lease) == "w1:1"
        assert 0 < await state.redis.pttl(session.lease) <= TIMING.lease_ms
        assert await session.end_orphan("worker lost") == "fenced"


async def test_a_renewed_lease_renews_the_record(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        await state.redis.pexpire(session.record, 100)
        assert await session.renew("w1:1") == "ok"
        assert await state.redis.pttl(session.record) > 100


async def test_what_is_stored_of_a_reply_is_kept_as_long_as_its_session(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        assert await state.redis.pttl(session.events) > 0
        await state.redis.pexpire(session.events, 100)
        keys = [session.record, session.lease, session.events]
        await state.scripts.renew(keys, ["w1:1", str(TIMING.lease_ms), str(RECORD_MS)])
        assert await state.redis.pttl(session.events) > 100
        await state.redis.pexpire(session.events, 100)
        await session.emit("w1:1", "frame", final=True)
        assert await state.redis.pttl(session.events) > 100
        await state.redis.delete(session.events, session.lease)  # as when Redis was away for longer than it is kept
        await session.emit("w1:1", "frame")
        assert await state.redis.pttl(session.events) > 0


async def test_a_frame_that_is_neither_the_first_nor_the_last_takes_six_commands(redis_url: str, commands: Any) -> None:
    async with open_state(redis_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        await session.emit("w1:1", "frame")
        async with commands(scripts=True) as seen:
            await session.emit("w1:1", "another")
    assert seen == ["EVALSHA", "EXISTS", "XREVRANGE", "GET", "XADD", "PUBLISH"]


async def test_frames_keep_their_order_and_only_the_newest_stay(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        ids = [
            (await state.scripts.append([session.record, session.events], ["channel", 5, f"frame{n}"]))[0]
            for n in range(12)
        ]
        entries: Any = await state.redis.xrange(session.events)
        assert [(entry, fields["f"]) for entry, fields in entries] == [(ids[n], f"frame{n}") for n in range(7, 12)]


async def test_a_frame_that_is_sent_again_after_a_lost_connection_is_stored_once(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        keys = [session.record, session.events]
        first = await state.scripts.append(keys, ["channel", 10, "frame", "mark"])
        assert await state.scripts.append(keys, ["channel", 10, "other", "another"]) != first
        assert await state.scripts.append(keys, ["channel", 10, "frame", "mark"]) == first
        entries: Any = await state.redis.xrange(session.events)
        assert [fields["f"] for _, fields in entries] == ["frame", "other"]


async def test_an_answer_fills_the_slot_that_was_made_for_it_once(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        keys = [session.record, session.slot]
        assert await state.scripts.fill(keys, ["channel", "unasked"]) == ["unasked"]
        await state.scripts.place(keys, [30_000, ""])
        assert await state.scripts.fill(keys, ["channel", "first"]) == ["ok"]
        assert await state.scripts.fill(keys, ["channel", "second"]) == ["unasked"]
        assert await state.redis.get(session.slot) == "first"
        assert 0 < await state.redis.pttl(session.slot) <= 30_000


async def test_the_newest_follower_wins_and_an_older_one_cannot_detach_it(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        keys = [session.record, session.events]
        await state.scripts.append(keys, ["channel", 10, "early"])
        assert await state.scripts.attach(keys, ["old", "channel"]) == ["0-0"]
        [last] = await state.scripts.append(keys, ["channel", 10, "later"])
        assert await state.scripts.attach(keys, ["new", "channel"]) == [last]
        await state.scripts.detach([session.record], ["old"])
        assert await state.redis.hget(session.record, "standalone") == "new"
        await state.scripts.detach([session.record], ["new"])
        assert await state.redis.hget(session.record, "standalone") is None


async def test_subscriptions_are_added_and_dropped(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        keys = [session.record, state.keys.subscriptions(SID)]
        for change in (["add", "test://1"], ["add", "test://2"], ["drop", "test://1"]):
            assert await state.scripts.subscribe(keys, [*change, "channel", 10]) == ["ok"]
        assert await state.redis.smembers(state.keys.subscriptions(SID)) == {"test://2"}


async def test_keys_of_one_session_share_a_cluster_slot_and_the_prefix(state_url: str | None) -> None:
    async with open_state(state_url, prefix="mine:") as state:
        session = Session(state)
        names = [session.record, session.events, session.lease, session.slot, state.keys.subscriptions(SID)]
        assert all(name.startswith("mine:") for name in names)
        assert {name[name.index("{") : name.index("}") + 1] for name in names} == {"{sid}"}


async def test_a_frame_repeated_after_a_time_out_is_stored_once(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        await session.open("w1:1")
        for _ in range(3):
            assert await session.emit("w1:1", "the result", final=True, number=1) == "ok"
        assert await session.endings() == ["the result"]


async def test_opening_repeated_after_a_time_out_finds_its_own_lease(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        assert await session.open("w1:1") == "ok"
        assert await session.open("w1:1") == "ok"
        assert await session.open("w2:1") == "fenced"
        assert await state.redis.xlen(session.events) == 1


@pytest.mark.parametrize("write", ["append", "emit"])
async def test_a_stream_holds_no_more_bytes_than_allowed_and_never_less_than_its_newest_frame(
    state_url: str | None, write: str
) -> None:
    async with open_state(state_url, stream_bytes=1000) as state:
        session = Session(state)
        await session.begin()
        if write == "emit":
            await session.open("w1:1")
        for number, size in enumerate([10] * 300 + [400, 400, 400, 5000, 10], 1):
            if write == "append":
                await state.scripts.append([session.record, session.events], ["channel", 1000, "x" * size])
            else:
                await session.emit("w1:1", "x" * size, number=number)
            entries: Any = await state.redis.xrange(session.events)
            sizes = [len(fields["f"]) for _, fields in entries if "f" in fields]
            assert sizes[-1] == size
            assert sum(sizes) <= 1000 or len(sizes) == 1
        assert sizes == [10]


async def test_frames_tell_whether_one_is_missing_between_them(state_url: str | None) -> None:
    async with open_state(state_url) as state:
        session = Session(state)
        await session.begin()
        for text in ("eins", "zwei ü", "drei"):
            await state.scripts.append([session.record, session.events], ["channel", 10, text])
        entries: Any = await state.redis.xrange(session.events)
        one, two, three = frames(entries)
        assert one.follows(0)
        assert two.follows(one.total)
        assert three.follows(two.total)
        assert not three.follows(one.total)
        assert three.follows(None), "who cannot know sees no gap"
