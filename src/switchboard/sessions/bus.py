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
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)

from switchboard.aio import background
from switchboard.errors import StateUnavailable
from switchboard.state import State
from switchboard.state.pubsub import parsed

log = structlog.get_logger("switchboard.sessions")

_KINDS: Final[dict[str, type[Any]]] = {
    "tools": ToolsListChanged,
    "prompts": PromptsListChanged,
    "resources": ResourcesListChanged,
    "resource": ResourceUpdated,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}

EVERYTHING: Final[tuple[ServerEvent, ...]] = (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged())
"""What is told to everybody after pub/sub was interrupted."""


AGAIN_S: Final = 0.5
"""How long to wait between two attempts to tell the other workers."""

MOST_OWED: Final = 10_000
"""Events that are kept for them; of more, the oldest are given up."""


class RedisBus:
    """Delivers events to the listeners of every worker, this one included."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self._interrupted: dict[object, Callable[[], None]] = {}
        self._owed: dict[ServerEvent, None] = {}
        self._owing = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive what other workers publish for as long as the context is open."""
        async with (
            self._state.hub.subscribed(self._state.keys.bus(), self._received),
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
            self._owe(event)

    async def _tell(self, event: ServerEvent) -> None:
        payload: dict[str, Any] = {"kind": _NAMES[type(event)]}
        if isinstance(event, ResourceUpdated):
            payload["uri"] = event.uri
        await self._state.hub.publish(self._state.keys.bus(), json.dumps(payload))

    def _owe(self, event: ServerEvent) -> None:
        self._owed[event] = None
        if len(self._owed) > MOST_OWED:
            given_up = next(iter(self._owed))
            del self._owed[given_up]
            log.warning("bus.given_up", kind=_NAMES[type(given_up)], most=MOST_OWED)
        self._owing.set()

    async def _republish(self) -> None:
        """Tell the others what they could not be told; once, however often it happened meanwhile."""
        while True:
            await self._owing.wait()
            await asyncio.sleep(AGAIN_S)
            self._owing.clear()
            for event in list(self._owed):
                del self._owed[event]
                try:
                    await self._tell(event)
                except StateUnavailable:
                    self._owe(event)
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
        kind, uri = _KINDS.get(str(message.get("kind"))), message.get("uri")
        if kind is None or (kind is ResourceUpdated and not isinstance(uri, str)):
            return  # a newer worker knows more kinds of events than this one
        self._deliver(kind(uri=uri) if kind is ResourceUpdated else kind())

    def _deliver(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            listener(event)


def _register(listeners: dict[object, Any], listener: Any) -> Callable[[], None]:
    token = object()
    listeners[token] = listener

    def remove() -> None:
        listeners.pop(token, None)

    return remove
