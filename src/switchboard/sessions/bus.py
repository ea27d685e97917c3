"""Change notices between workers: the SDK's `SubscriptionBus` over Redis pub/sub.

Every event is a level trigger ("this changed, look again if you care"), so nothing is stored: a stream that may have
missed some is told that everything changed.
"""

from __future__ import annotations

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

from switchboard.errors import StateUnavailable
from switchboard.state import State

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


class RedisBus:
    """Delivers events to the listeners of every worker, this one included."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self._interrupted: dict[object, Callable[[], None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Receive what other workers publish for as long as the context is open."""
        async with self._state.hub.subscribed(self._state.keys.bus(), self._received):
            yield

    async def publish(self, event: ServerEvent) -> None:
        """Tell every worker; if Redis is away, at least this one."""
        payload: dict[str, Any] = {"kind": _NAMES[type(event)]}
        if isinstance(event, ResourceUpdated):
            payload["uri"] = event.uri
        try:
            await self._state.hub.publish(self._state.keys.bus(), json.dumps(payload))
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), lost="change notice to the other workers")
            self._deliver(event)

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
        message = json.loads(payload)
        kind = _KINDS.get(message["kind"])
        if kind is None:  # a newer worker knows more kinds of events than this one
            return
        self._deliver(kind(uri=message["uri"]) if kind is ResourceUpdated else kind())

    def _deliver(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            listener(event)


def _register(listeners: dict[object, Any], listener: Any) -> Callable[[], None]:
    token = object()
    listeners[token] = listener

    def remove() -> None:
        listeners.pop(token, None)

    return remove
