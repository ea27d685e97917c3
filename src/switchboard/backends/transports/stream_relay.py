"""Who has the GET stream of an upstream session, and who hears what comes on it.

Several workers may have a line on one session, but one has its stream: it hands on what it hears. A question there says
not to which call it belongs, so it goes to a worker that has a call in flight; each is taken by one worker only.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import structlog

from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.notification_order import MOST
from switchboard.errors import StateUnavailable
from switchboard.fleet import Lease
from switchboard.fleet.leader import Leader, LeaseLeader, SoleLeader
from switchboard.protocol.changes import METHODS, UPDATED
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS
from switchboard.state.pubsub import parsed

GRACE_S: Final = 0.5
"""How long the worker with the stream waits for one with a call in flight to take what came."""

WHOLE_BACKEND: Final = frozenset([*METHODS, UPDATED])
"""Notifications that concern the backend as a whole: whoever has the stream deals with them."""

Message = Mapping[str, Any]
Deal = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("switchboard.backends")


class Relay(Protocol):
    """What comes on a session's stream, on its way to whoever deals with it."""

    @property
    def lead(self) -> Leader:
        """Whether the stream is this worker's."""
        ...

    def running(self, deal: Deal, busy: Callable[[], bool]) -> Any:
        """A context in which `deal` gets what is this worker's; `busy` tells whether it has a call in flight."""
        ...

    async def last(self) -> str | None:
        """The last event id that was heard."""
        ...

    async def heard(self, event: str | None, message: Message | None) -> None:
        """Hand on what came."""
        ...


class LocalRelay:
    """For a line whose session no other worker knows."""

    def __init__(self) -> None:
        self.lead: Leader = SoleLeader()
        self._last: str | None = None
        self._deal: Deal | None = None

    @asynccontextmanager
    async def running(self, deal: Deal, busy: Callable[[], bool]) -> AsyncIterator[None]:
        """All is this worker's."""
        self._deal = deal
        yield

    async def last(self) -> str | None:
        """From memory."""
        return self._last

    async def heard(self, event: str | None, message: Message | None) -> None:
        """Deal with it."""
        self._last = event or self._last
        if message is not None and self._deal is not None:
            await self._deal(message)


class SharedRelay:
    """For a line whose session all workers resume."""

    def __init__(self, state: State, place: str, key: ConnectionKey, worker: str) -> None:
        given = (key.tag, place, key.capabilities)
        self._state = state
        self._given = given
        self._channel = state.keys.line_heard(*given)
        self._seen = state.keys.line_seen(*given)
        self._worker = worker
        lease = Lease(state, state.keys.line_listening(*given), worker)
        self._vacant = asyncio.Event()
        self.lead: Leader = LeaseLeader(lease, self._vacant, self._left, random.random)
        self._tasks: asyncio.TaskGroup | None = None
        self._dealing: set[asyncio.Task[None]] = set()
        self._deal: Deal | None = None
        self._busy: Callable[[], bool] = lambda: False

    @asynccontextmanager
    async def running(self, deal: Deal, busy: Callable[[], bool]) -> AsyncIterator[None]:
        """Hear what any worker hands on; give the stream back on the way out."""
        self._deal, self._busy = deal, busy
        async with asyncio.TaskGroup() as self._tasks, self._state.hub.subscribed(self._channel, self._hear):
            try:
                yield
            finally:
                if self.lead.held:
                    await asyncio.shield(self.lead.resign())

    async def last(self) -> str | None:
        """From Redis: another worker may have heard it."""
        with self._state.guard():
            found = await self._state.redis.get(self._seen)
        return str(found) if found else None

    async def heard(self, event: str | None, message: Message | None) -> None:
        """Tell every worker, this one included."""
        try:
            if message is not None:
                frame = {"id": secrets.token_hex(8), "message": message}
                await self._state.hub.publish(self._channel, json.dumps(frame))
            if event is not None:
                with self._state.guard():
                    await self._state.redis.set(self._seen, event, px=LINE_LIFE_MS)
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="what a backend said by itself")

    async def _left(self) -> None:
        await self._state.hub.publish(self._channel, json.dumps({"vacant": True}))

    def _hear(self, payload: str) -> None:
        frame = parsed(payload)
        if frame is None or self._tasks is None:
            return
        if frame.get("vacant"):
            self._vacant.set()
        elif isinstance(frame.get("message"), dict) and len(self._dealing) < MOST:
            task = self._tasks.create_task(self._dealt(str(frame.get("id")), frame["message"]))
            self._dealing.add(task)
            task.add_done_callback(self._dealing.discard)

    async def _dealt(self, item: str, message: Message) -> None:
        if self._deal is None:
            return
        if message.get("method") in WHOLE_BACKEND:
            if self.lead.held:
                await self._deal(message)
            return
        if not self._busy():
            if not self.lead.held:
                return
            await asyncio.sleep(GRACE_S)
        if await self._took(item):
            await self._deal(message)

    async def _took(self, item: str) -> bool:
        try:
            with self._state.guard():
                key = self._state.keys.line_took(*self._given, item)
                return bool(await self._state.redis.set(key, self._worker, nx=True, px=self._state.timing.lease_ms))
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="what a backend said by itself")
            return False
