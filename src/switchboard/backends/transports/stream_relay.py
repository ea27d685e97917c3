"""Which worker reads the GET stream of a backend's session, and which workers get the messages on it.

Several workers may have a connection in one session, but one reads its stream and passes the messages on to all. A
request of the backend does not say which call it belongs to, so a worker with a call in flight takes it; each is
taken by one worker only.
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
from switchboard.backends.connections.notification_order import NOTIFICATIONS_WAITING
from switchboard.errors import StateUnavailable
from switchboard.fleet import Lease
from switchboard.fleet.leader import Leader, LeaseLeader, SoleLeader
from switchboard.protocol.changes import METHODS, UPDATED
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS
from switchboard.state.pubsub import parsed

CLAIM_GRACE_S: Final = 0.5
"""How long the worker with the stream waits for one with a call in flight to take what came."""

WHOLE_BACKEND: Final = frozenset([*METHODS, UPDATED])
"""Notifications that concern the backend as a whole: the worker that reads the stream handles them."""

Message = Mapping[str, Any]
Handle = Callable[[Message], Awaitable[None]]

log = structlog.get_logger("switchboard.backends")


class Relay(Protocol):
    """What comes on a session's stream, on its way to whoever deals with it."""

    @property
    def leader(self) -> Leader:
        """Whether the stream is this worker's."""
        ...

    def running(self, handle: Handle, busy: Callable[[], bool]) -> Any:
        """A context in which `handle` gets what is this worker's; `busy` tells whether it has a call in flight."""
        ...

    async def last_event(self) -> str | None:
        """The last event id that was heard."""
        ...

    async def publish(self, event: str | None, message: Message | None) -> None:
        """Hand on what came."""
        ...


class LocalRelay:
    """For a connection whose session no other worker knows."""

    def __init__(self) -> None:
        self.leader: Leader = SoleLeader()
        self._last: str | None = None
        self._handle: Handle | None = None

    @asynccontextmanager
    async def running(self, handle: Handle, busy: Callable[[], bool]) -> AsyncIterator[None]:
        """All is this worker's."""
        self._handle = handle
        yield

    async def last_event(self) -> str | None:
        """From memory."""
        return self._last

    async def publish(self, event: str | None, message: Message | None) -> None:
        """Deal with it."""
        self._last = event or self._last
        if message is not None and self._handle is not None:
            await self._handle(message)


class SharedRelay:
    """For a connection whose session all workers resume."""

    def __init__(self, state: State, place: str, key: ConnectionKey, worker: str) -> None:
        key_parts = (key.tag, place, key.capabilities)
        self._state = state
        self._key_parts = key_parts
        self._channel = state.keys.line_heard(*key_parts)
        self._seen = state.keys.line_seen(*key_parts)
        self._worker = worker
        lease = Lease(state, state.keys.line_listening(*key_parts), worker)
        self._vacant = asyncio.Event()
        self.leader: Leader = LeaseLeader(lease, self._vacant, self._announce_vacant, random.random)
        self._tasks: asyncio.TaskGroup | None = None
        self._delivering: set[asyncio.Task[None]] = set()
        self._handle: Handle | None = None
        self._busy: Callable[[], bool] = lambda: False

    @asynccontextmanager
    async def running(self, handle: Handle, busy: Callable[[], bool]) -> AsyncIterator[None]:
        """Hear what any worker hands on; give the stream back on the way out."""
        self._handle, self._busy = handle, busy
        async with asyncio.TaskGroup() as self._tasks, self._state.pubsub.subscribed(self._channel, self._on_frame):
            try:
                yield
            finally:
                if self.leader.held:
                    await asyncio.shield(self.leader.resign())

    async def last_event(self) -> str | None:
        """From Redis: another worker may have heard it."""
        with self._state.guard():
            found = await self._state.redis.get(self._seen)
        return str(found) if found else None

    async def publish(self, event: str | None, message: Message | None) -> None:
        """Tell every worker, this one included."""
        try:
            if message is not None:
                frame = {"id": secrets.token_hex(8), "message": message}
                await self._state.pubsub.publish(self._channel, json.dumps(frame))
            if event is not None:
                with self._state.guard():
                    await self._state.redis.set(self._seen, event, px=LINE_LIFE_MS)
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="what a backend said by itself")

    async def _announce_vacant(self) -> None:
        await self._state.pubsub.publish(self._channel, json.dumps({"vacant": True}))

    def _on_frame(self, payload: str) -> None:
        frame = parsed(payload)
        if frame is None or self._tasks is None:
            return
        if frame.get("vacant"):
            self._vacant.set()
        elif isinstance(frame.get("message"), dict) and len(self._delivering) < NOTIFICATIONS_WAITING:
            task = self._tasks.create_task(self._deliver(str(frame.get("id")), frame["message"]))
            self._delivering.add(task)
            task.add_done_callback(self._delivering.discard)

    async def _deliver(self, item: str, message: Message) -> None:
        if self._handle is None:
            return
        if message.get("method") in WHOLE_BACKEND:
            if self.leader.held:
                await self._handle(message)
            return
        if not self._busy():
            if not self.leader.held:
                return
            await asyncio.sleep(CLAIM_GRACE_S)
        if await self._claim_delivery(item):
            await self._handle(message)

    async def _claim_delivery(self, item: str) -> bool:
        try:
            with self._state.guard():
                key = self._state.keys.line_took(*self._key_parts, item)
                return bool(await self._state.redis.set(key, self._worker, nx=True, px=self._state.timing.lease_ms))
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="what a backend said by itself")
            return False
