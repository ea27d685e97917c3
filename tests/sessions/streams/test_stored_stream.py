"""The loop in which a response follows a stream: what is read when, when a comment is due, and how it ends."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing

import pytest

from switchboard.aio import SmallEvent
from switchboard.sessions.records import Records
from switchboard.sessions.streams.standalone import append
from switchboard.sessions.streams.stored_stream import BATCH, StoredStream, follow
from switchboard.state import open_state
from switchboard.state.keys import STANDALONE


class Source:
    """What is followed: gives what it is told to give."""

    def __init__(self) -> None:
        self.wake = SmallEvent()
        self.over = False
        self.pause = math.inf
        self.come: list[str] = []
        self.reading = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()
        self.idled = 0
        self.cancelled = False
        self.failure: Exception | None = None

    def give(self, *items: str) -> None:
        """Have something to read."""
        self.come += items
        self.wake.set()

    async def read(self) -> list[str]:
        """What there is."""
        self.reading.set()
        try:
            await self.readable.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.failure is not None:
            raise self.failure
        come, self.come = self.come, []
        return come

    async def idle(self) -> list[str]:
        """End after the second time."""
        self.idled += 1
        self.over = self.idled == 2
        return [f"idle {self.idled}"]


@pytest.fixture
def source() -> Source:
    return Source()


async def test_what_is_there_is_given_first_and_then_what_comes(source: Source) -> None:
    source.give("one", "two")
    async with aclosing(follow(source)) as given:
        assert [await anext(given), await anext(given)] == ["one", "two"]
        later = asyncio.ensure_future(anext(given))
        await asyncio.sleep(0)
        source.give("three")
        assert await later == "three"


async def test_what_comes_while_the_reader_is_slow_is_not_lost(source: Source) -> None:
    source.give("one")
    async with aclosing(follow(source)) as given:
        assert await anext(given) == "one"
        source.give("two")
        assert await anext(given) == "two"


async def test_a_comment_is_due_while_reading_takes_long(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard.sessions.streams.stored_stream.KEEPALIVE_S", 0.001)
    source.readable.clear()
    source.give("one")
    async with aclosing(follow(source)) as given:
        assert [await anext(given), await anext(given)] == [None, None]
        source.readable.set()
        found = [await anext(given)]
        while found[-1] is None:
            found.append(await anext(given))
    assert found[-1] == "one"


async def test_a_comment_is_due_while_nothing_comes(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard.sessions.streams.stored_stream.KEEPALIVE_S", 0.001)
    async with aclosing(follow(source)) as given:
        assert await anext(given) is None


async def test_after_each_pause_the_stream_is_looked_after_until_it_is_over(source: Source) -> None:
    source.pause = 0.001
    assert [item async for item in follow(source)] == ["idle 1", "idle 2"]


async def test_a_stream_that_is_over_once_it_was_read_is_not_waited_for(source: Source) -> None:
    source.give("last")
    async with aclosing(follow(source)) as given:
        assert await anext(given) == "last"
        source.over = True
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(given), 60)


async def test_leaving_ends_the_reading(source: Source) -> None:
    source.readable.clear()
    given = follow(source)
    waiting = asyncio.ensure_future(anext(given))
    await source.reading.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0)
    assert source.cancelled


async def test_what_reading_raises_is_raised(source: Source) -> None:
    source.failure = ValueError("unreadable")
    with pytest.raises(ValueError, match="unreadable"):
        await anext(follow(source))


async def test_more_than_is_read_at_once_is_read_without_waiting() -> None:
    async with open_state(None) as state:
        records = Records(state, ttl=60)
        sid = await records.reserve("somebody")
        for number in range(BATCH + 1):
            await append(state, sid, {"number": number})
        stored = StoredStream(state, sid, STANDALONE)
        assert len(await stored.read()) == BATCH
        assert stored.wake.is_set()
        stored.wake.clear()
        assert len(await stored.read()) == 1
        assert not stored.wake.is_set()
