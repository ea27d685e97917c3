"""Change notices between workers: the SDK's `SubscriptionBus` over Redis pub/sub.

Every event is a level trigger ("this changed, look again if you care"), so nothing is stored: a stream that may have
missed some is told that everything changed. What could not be published is published later: on a Cluster the other
workers' connections may have outlived what broke ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent

from switchboard.aio import background
from switchboard.errors import StateUnavailable
from switchboard.protocol.changes import KINDS, LIST_CHANGES
from switchboard.state import State
from switchboard.state.pubsub import parsed

log = structlog.get_logger("switchboard.sessions")

RESOURCE: Final = "resource"
"""The kind of the event that one resource changed; the others are `LIST_CHANGES`."""

REPUBLISH_S: Final = 0.5
"""How long to wait before what could not be published is published again."""

MOST_UNPUBLISHED: Final = 10_000
"""Events that are kept for the other workers; of more, the oldest are dropped."""


class RedisBus:
    """Delivers events to the listeners of every worker, this one included."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self._interrupted: dict[object, Callable[[], None]] = {}
        self._unpublished: dict[ServerEvent, None] = {}
        """Events that the other workers were not told of, the oldest first."""
        self._kept = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive what other workers publish for as long as the context is open."""
        async with (
            self._state.pubsub.subscribed(self._state.keys.bus(), self._received),
            background(self._republish()),
        ):
            yield

    async def publish(self, event: ServerEvent) -> None:
        """Tell every worker; if Redis is away, this one now and the others when it is back."""
        try:
            await self._tell(event)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), late="change notice to the other workers")
            self._deliver(event)
            self._keep(event)

    async def _tell(self, event: ServerEvent) -> None:
        payload: dict[str, Any] = {"kind": _kind(event)}
        if isinstance(event, ResourceUpdated):
            payload["uri"] = event.uri
        await self._state.pubsub.publish(self._state.keys.bus(), json.dumps(payload))

    def _keep(self, event: ServerEvent) -> None:
        self._unpublished[event] = None
        if len(self._unpublished) > MOST_UNPUBLISHED:
            dropped = next(iter(self._unpublished))
            del self._unpublished[dropped]
            log.warning("bus.event_dropped", kind=_kind(dropped), most=MOST_UNPUBLISHED)
        self._kept.set()

    async def _republish(self) -> None:
        """Tell the other workers what they could not be told; once, however often it happened meanwhile."""
        while True:
            await self._kept.wait()
            await asyncio.sleep(REPUBLISH_S)
            self._kept.clear()
            for event in list(self._unpublished):
                del self._unpublished[event]
                try:
                    await self._tell(event)
                except StateUnavailable:
                    self._keep(event)
                    break

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register `listener`; returns what takes it away again."""
        return _register(self._listeners, listener)

    def on_interruption(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called when events may have been missed; returns what takes it away again."""
        return _register(self._interrupted, listener)

    def _received(self, payload: str) -> None:
        if not payload:
            for listener in list(self._interrupted.values()):
                listener()
            return
        message = parsed(payload) or {}
        kind, uri = str(message.get("kind")), message.get("uri")
        if kind == RESOURCE and isinstance(uri, str):
            self._deliver(ResourceUpdated(uri=uri))
        elif kind in LIST_CHANGES:  # else it is of a newer worker, which knows more kinds of events
            self._deliver(LIST_CHANGES[kind].event)

    def _deliver(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            listener(event)


def _kind(event: ServerEvent) -> str:
    return KINDS.get(type(event), RESOURCE)


def _register(listeners: dict[object, Any], listener: Any) -> Callable[[], None]:
    token = object()
    listeners[token] = listener

    def remove() -> None:
        listeners.pop(token, None)

    return remove
