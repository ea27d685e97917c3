"""What a server says on its own: resource updates, log messages and lines of standard error, at intervals.

One task per worker looks at the streams that are open on this worker when something falls due. Who is told what is
decided by pure functions; each stream then has a task of its own, so that a slow one delays nobody. So many of them are
told at once, and no more: thousands would take every connection to Redis from those who came to work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from switchboard.errors import StateUnavailable
from switchboard.everything import resources
from switchboard.everything.tools.logs import LEVELS, LOGGER
from switchboard.plugins import Host, OpenStream

_log = logging.getLogger(__name__)

Notice = tuple[str, Mapping[str, Any]]
"""A notification: method and params."""


class Clock(Protocol):
    """Time, as far as the ticker needs it."""

    def now(self) -> float:
        """Seconds from any fixed start, never going back."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Return when `now()` has reached `moment`."""
        ...


class LoopClock:
    """The event loop's own time."""

    def now(self) -> float:
        """See `Clock`."""
        return anyio.current_time()

    async def sleep_until(self, moment: float) -> None:
        """See `Clock`."""
        await anyio.sleep_until(moment)


@dataclass(frozen=True)
class Beat:
    """Something to say to a stream every so many seconds."""

    every: float
    notices: Callable[[OpenStream, int], Iterator[Notice]]
    """What to say to a stream at the n-th beat, from 1."""


def resource_updates(stream: OpenStream, _count: int) -> Iterator[Notice]:
    """An update for each static resource that the client subscribed to."""
    for uri in sorted(stream.subscriptions):
        if resources.number_of(uri) is not None:
            yield "notifications/resources/updated", {"uri": uri}


def log_messages(stream: OpenStream, count: int) -> Iterator[Notice]:
    """A log message; from beat to beat it goes through the levels that the client wants to hear."""
    if stream.era != "handshake" or stream.log_level is None:
        return
    heard = LEVELS[LEVELS.index(stream.log_level) :]
    level = heard[(count - 1) % len(heard)]
    yield "notifications/message", {"level": level, "logger": LOGGER, "data": f"Log message {count}, at level {level}"}


def stderr_messages(stream: OpenStream, count: int) -> Iterator[Notice]:
    """A line of standard error, in the notification that MCP Inspector shows."""
    if stream.era == "handshake":
        yield "notifications/stderr", {"content": f"Standard error message {count}"}


@dataclass
class _Hand:
    """Where a beat stands."""

    beat: Beat
    next: float
    count: int = 0

    def moved(self, now: float) -> bool:
        """Whether the beat fell due, and if so on to the next; what a worker that was held up missed stays unsaid."""
        if self.next > now:
            return False
        self.count += 1
        self.next = max(self.next, now - self.beat.every) + self.beat.every
        return True


_AT_ONCE = 100
"""How many streams are looked at before other tasks get their turn."""

_TOLD_AT_ONCE = 32
"""How many streams are being told something; the others wait for their turn."""

_PATIENCE = 60.0
"""Seconds after which a stream that takes nothing is given up for this beat."""


class Ticker:
    """Sends what falls due to every open stream; a stream still busy with the last beat misses this one."""

    def __init__(self, host: Host, beats: Sequence[Beat], clock: Clock, patience: float = _PATIENCE) -> None:
        self._host = host
        self._beats = beats
        self._clock = clock
        self._patience = patience
        self._busy: set[int] = set()
        self._turns = anyio.Semaphore(_TOLD_AT_ONCE, fast_acquire=True)

    async def run(self) -> None:
        """Tick until cancelled."""
        hands = [_Hand(beat, self._clock.now() + beat.every) for beat in self._beats]
        async with anyio.create_task_group() as sending:
            while True:
                await self._clock.sleep_until(min(hand.next for hand in hands))
                now = self._clock.now()
                due = [(hand.beat, hand.count) for hand in hands if hand.moved(now)]
                await self._tell_all(due, sending)

    async def _tell_all(self, due: Sequence[tuple[Beat, int]], sending: TaskGroup) -> None:
        for seen, stream in enumerate(self._host.streams(), 1):
            notices = [notice for beat, count in due for notice in beat.notices(stream, count)]
            if notices and id(stream) not in self._busy:
                self._busy.add(id(stream))
                sending.start_soon(self._tell, stream, notices)
            if seen % _AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()

    async def _tell(self, stream: OpenStream, notices: Sequence[Notice]) -> None:
        try:
            async with self._turns:
                with anyio.move_on_after(self._patience):
                    for method, params in notices:
                        await stream.notify(method, params)
        except StateUnavailable:
            _log.debug("notifications.dropped")  # logged once, by `state`
        except Exception:  # the boundary between one stream and all others: its failure must not end the ticker
            _log.exception("notifications.failed")
        finally:
            self._busy.discard(id(stream))


@asynccontextmanager
async def ticking(host: Host, beats: Sequence[Beat], clock: Clock) -> AsyncIterator[None]:
    """Run a ticker for as long as the block runs."""
    async with anyio.create_task_group() as group:
        group.start_soon(Ticker(host, beats, clock).run)
        yield
        group.cancel_scope.cancel()
