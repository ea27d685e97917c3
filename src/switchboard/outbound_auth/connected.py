"""Notices that a person connected to a backend or plugin, or disconnected: published to every worker.

The vault decides whether somebody is connected; a notice only says when to look again. So a call that waits for its
person goes on, on whichever worker it waits, and lists that depend on the person are known to have changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from switchboard.state import State

Changed = Callable[[str, str], None]
"""Called with the digest of the person and the id; both empty when any may have changed. Must not raise."""

log = structlog.get_logger(__name__)


def person_digest(person: str) -> str:
    """A short hash of a person, for channels and logs: tells two apart without naming either."""
    return hashlib.sha256(person.encode()).hexdigest()[:16]


class ConnectionNotices:
    """This worker's ear for notices, and its voice.

    Args:
        state: whose pub/sub carries them.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._channel = state.keys.connected()
        self._waiting: defaultdict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._listeners: list[Changed] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hear notices while the context is open.

        Raises:
            StateUnavailable: Redis cannot be reached.
        """
        async with self._state.pubsub.subscribed(self._channel, self._heard):
            yield

    def on_change(self, listener: Changed) -> None:
        """Have `listener` called with every notice, for as long as the worker lives."""
        self._listeners.append(listener)

    async def tell(self, person: str, name: str) -> None:
        """Tell all workers that a person connected or disconnected.

        Raises:
            StateUnavailable: Redis cannot be reached; what the vault has is true all the same.
        """
        await self._state.pubsub.publish(self._channel, json.dumps([person_digest(person), name]))

    @contextmanager
    def waiting(self, person: str, name: str) -> Iterator[asyncio.Event]:
        """An event that is set by each notice about this person and id, and when one may have been missed.

        Whoever waits looks at the vault first, and after each time: `event.clear()`, look, `await event.wait()`.
        """
        key, event = (person_digest(person), name), asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def _heard(self, payload: str) -> None:
        if not payload:  # the subscription was made anew: something may have been missed
            for events in self._waiting.values():
                for event in events:
                    event.set()
            self._tell("", "")
            return
        try:
            digest, name = json.loads(payload)
        except ValueError:
            log.warning("notice.unreadable", length=len(payload))
            return
        for event in self._waiting.get((digest, name), ()):
            event.set()
        self._tell(digest, name)

    def _tell(self, digest: str, name: str) -> None:
        for listener in self._listeners:
            listener(digest, name)
