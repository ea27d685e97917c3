"""Streams that are stored in Redis, and the loop in which a response follows one for as long as it is open.

The stored copy decides; a wake-up only says when to look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, Final, Protocol, TypeVar

import structlog

from switchboard.aio import SmallEvent
from switchboard.sessions.streams.frames import KEEPALIVE, Frame, event, frames, order
from switchboard.state import State

log = structlog.get_logger("switchboard.sessions")

BATCH: Final = 200
"""Frames that are read at once."""

START: Final = "0-0"
"""Before the first entry of any stream."""

KEEPALIVE_S: Final = 15.0
"""After so long without anything else a comment is sent."""

Item = TypeVar("Item")
Given = TypeVar("Given", covariant=True)


class StoredStream:
    """One stream of a session, and how far it was read."""

    def __init__(self, state: State, sid: str, name: str, last: str = START) -> None:
        self.name = name
        self.channel = state.keys.to_client(sid, name)
        """Where whoever follows the stream is woken."""
        self.wake = SmallEvent()
        """Set when there may be more to read."""
        self.gap = False
        """Whether frames were dropped before they could be read."""
        self._state = state
        self._sid = sid
        self.key = state.keys.events(sid, name)
        self.seek(last)

    def seek(self, last: str) -> None:
        """Read on after the entry of that id."""
        self.last = last
        self._total = 0 if last == START else None

    async def read(self) -> list[Frame]:
        """The frames after `last`, at most BATCH of them, and none from a gap on; `last` moves on."""
        with self._state.guard():
            entries: Any = await self._state.redis.xrange(self.key, min=f"({self.last}", count=BATCH)
        found = frames(entries)
        for number, frame in enumerate(found):
            if not frame.follows(self._total):
                self.report_gap()
                return found[:number]
            self.last, self._total = frame.id, frame.total
        if len(entries) == BATCH:
            self.wake.set()
        return found

    async def has_dropped(self) -> bool:
        """Whether frames after `last` may have been dropped, so that reading on would leave a silent gap."""
        if self.last == START:
            return False
        with self._state.guard():
            first: Any = await self._state.redis.xrange(self.key, count=1)
        return bool(first) and order(first[0][0]) > order(self.last)

    async def newest(self) -> list[tuple[str, dict[str, str]]]:
        """The newest entry, if there is one."""
        with self._state.guard():
            entries: Any = await self._state.redis.xrevrange(self.key, count=1)
        return list(entries)

    async def entries(self) -> list[tuple[str, dict[str, str]]]:
        """All that is stored."""
        with self._state.guard():
            entries: Any = await self._state.redis.xrange(self.key)
        return list(entries)

    def report_gap(self) -> None:
        """Note that something is missing: whoever follows the stream ends, and its client learns of it by that."""
        log.warning("stream.gap", session=self._sid[:8], stream=self.name)
        self.gap = True


class KeepaliveTimer:
    """When something was sent last on a response, and so when a comment is due."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Something was sent now."""
        self._at = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until a comment is due."""
        return max(self._at + KEEPALIVE_S - time.monotonic(), 0)

    async def during(self, work: Coroutine[Any, Any, Iterable[Item]]) -> AsyncGenerator[Item | None]:
        """What the work finds; before that, `None` whenever a comment is due.

        The work is a task of its own: when a master of a Cluster dies, one command may take more than twenty seconds.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                if not self.left:
                    yield None
                    self.restart()
                await asyncio.wait({task}, timeout=self.left)
        finally:
            task.cancel()
        for item in task.result():
            yield item
            self.restart()


class Followed(Protocol[Given]):
    """What a response follows."""

    @property
    def wake(self) -> SmallEvent:
        """Set when there may be something to read, or the stream is over."""
        ...

    @property
    def over(self) -> bool:
        """Whether there will be nothing more."""
        ...

    @property
    def pause(self) -> float:
        """Seconds to wait for `wake` before `idle` is called."""
        ...

    async def read(self) -> Iterable[Given]:
        """What came since the last time."""
        ...

    async def idle(self) -> Iterable[Given]:
        """Called after a pause: look after the stream; what was found by that."""
        ...


async def follow(stream: Followed[Item]) -> AsyncGenerator[Item | None]:
    """What the stream gives, as it comes; `None` when a comment is due. No task runs while there is nothing to do."""
    timer, woken = KeepaliveTimer(), True
    while not stream.over:
        if woken:
            stream.wake.clear()
        async with aclosing(timer.during(stream.read() if woken else stream.idle())) as found:
            async for item in found:
                yield item
        woken = stream.over or await stream.wake.wait(min(stream.pause, timer.left))


async def server_sent(opening: bytes, name: str, following: AsyncGenerator[Frame | None]) -> AsyncGenerator[bytes]:
    """Frames of the stream of that name as server-sent events, after `opening`."""
    yield opening
    async with aclosing(following):
        async for frame in following:
            yield event(name, frame) if frame is not None else KEEPALIVE
