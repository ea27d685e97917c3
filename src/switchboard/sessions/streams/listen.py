"""`subscriptions/listen` (2026-07-28, SEP-2575): one request whose response is a stream of change notices.

Our own, because the SDK's handler costs a task group and a memory stream for each of thousands of idle streams. Events
are level triggers, so what is pending is a set: a slow reader gets each change once, and memory stays bounded.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Final, Literal, Protocol

from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourceUpdated,
    ServerEvent,
    event_matches,
    event_to_notification,
)
from mcp_types import LoggingLevel, RequestId, SubscriptionFilter

from switchboard.aio import SmallEvent
from switchboard.protocol.changes import LIST_CHANGES
from switchboard.protocol.resource_uris import equal
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.streams.frames import KEEPALIVE
from switchboard.sessions.streams.stored_stream import follow

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class Watch(Protocol):
    """What a client follows by name beyond the specification's filter: tasks."""

    @property
    def names(self) -> Iterable[str]:
        """What is followed."""
        ...

    @property
    def every(self) -> float:
        """Seconds without a change after which everything is looked at."""
        ...

    @property
    def honored(self) -> Mapping[str, Any]:
        """What the acknowledgement says of them."""
        ...

    def watching(self, changed: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """Have `changed` called with the name of what may have changed."""
        ...

    async def notice(self, name: str) -> tuple[str, Mapping[str, Any]] | None:
        """The notification about it, method and params; `None` when nothing changed."""
        ...


class ListenStream:
    """One client's open `subscriptions/listen`. Satisfies `switchboard.plugins.OpenStream`."""

    era: Literal["modern"] = "modern"
    log_level: LoggingLevel | None = None

    def __init__(
        self,
        request_id: RequestId,
        wanted: SubscriptionFilter,
        *,
        server_info: Mapping[str, Any],
        expires_at: float | None,
        watch: Watch | None = None,
        still_valid: Callable[[], Awaitable[bool]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self.still_valid = still_valid
        self._id = request_id
        self._watch = watch
        self._honored = _honored(wanted)
        self._server_info = server_info
        self._expires_at = expires_at
        self.subscriptions = frozenset(self._honored.resource_subscriptions or ())
        self._pending: dict[ServerEvent | str, None] = {}
        """Events, and names of what is watched."""
        self.wake = SmallEvent()
        self.over = False

    def deliver(self, event: ServerEvent) -> None:
        """Note an event, if the client asked for its kind."""
        for noted in _forms(event, self.subscriptions):
            if event_matches(self._honored, self.subscriptions, noted):
                self._pending[noted] = None
                self.wake.set()

    def changed(self, name: str) -> None:
        """Note that something watched may have changed."""
        self._pending[name] = None
        self.wake.set()

    def interrupted(self) -> None:
        """Events may have been missed: tell the client that all it asked for may have changed."""
        for change in LIST_CHANGES.values():
            self.deliver(change.event)
        for uri in self.subscriptions:
            self.deliver(ResourceUpdated(uri))

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a resource update; the revision allows no other notification of a plugin on this stream."""
        if method == "notifications/resources/updated":
            self.deliver(ResourceUpdated(str(params["uri"])))

    def end(self, _ending: str = "leaving") -> None:
        """End the stream with its result, which tells the client that it ended on purpose."""
        self.over = True
        self.wake.set()

    async def events(self, bus: RedisBus, counted: AbstractAsyncContextManager[None]) -> AsyncGenerator[bytes]:
        """The stream as server-sent events: the acknowledgement, then notices, then the result.

        Args:
            bus: where changes are announced.
            counted: in which this stream is one of those that are open.
        """
        async with counted, self._watching():
            unsubscribe = bus.subscribe(self.deliver)
            try:
                self._look_again()
                yield _event(self._acknowledgement())
                async with aclosing(follow(self)) as messages:
                    async for message in messages:
                        yield KEEPALIVE if message is None else _event(message)
                yield _event({"jsonrpc": "2.0", "id": self._id, "result": self._result()})
            finally:
                unsubscribe()

    def _watching(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._watch is None else self._watch.watching(self.changed)

    @property
    def pause(self) -> float:
        """Seconds until the token expires, or what is watched is to be looked at again."""
        return min(self._left(), self._watch.every if self._watch is not None else math.inf)

    async def read(self) -> list[dict[str, Any]]:
        """The notifications of what changed since the last time."""
        pending = list(self._pending)
        self._pending.clear()
        return [notice for item in pending if (notice := await self._notice(item)) is not None]

    async def idle(self) -> list[dict[str, Any]]:
        """End with the token; else look at everything that is watched."""
        self.over = self.over or not self._left()
        self._look_again()
        return [] if self.over else await self.read()

    def _left(self) -> float:
        return math.inf if self._expires_at is None else max(self._expires_at - self._clock(), 0)

    def _look_again(self) -> None:
        for name in self._watch.names if self._watch is not None else ():
            self.changed(name)

    def _acknowledgement(self) -> dict[str, Any]:
        honored = self._honored.model_dump(by_alias=True, mode="json", exclude_none=True)
        watched = self._watch.honored if self._watch is not None else {}
        params = {"notifications": {**honored, **watched}, "_meta": self._meta()}
        return {"jsonrpc": "2.0", "method": ACKNOWLEDGED, "params": params}

    async def _notice(self, item: ServerEvent | str) -> dict[str, Any] | None:
        if not isinstance(item, str):
            notice = event_to_notification(item, self._meta()).model_dump(by_alias=True, mode="json", exclude_none=True)
            return {"jsonrpc": "2.0", **notice}
        told = await self._watch.notice(item) if self._watch is not None else None
        if told is None:
            return None
        method, params = told
        return {"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": self._meta()}}

    def _result(self) -> dict[str, Any]:
        meta = {**self._meta(), "io.modelcontextprotocol/serverInfo": self._server_info}
        return {"resultType": "complete", "_meta": meta}

    def _meta(self) -> dict[str, Any]:
        return {SUBSCRIPTION_ID_META_KEY: self._id}


def _forms(event: ServerEvent, subscriptions: frozenset[str]) -> Iterable[ServerEvent]:
    """The event as the client asked for it: a resource under each form of its URI that it subscribed to."""
    if not isinstance(event, ResourceUpdated):
        return (event,)
    return [ResourceUpdated(uri) for uri in equal(event.uri, subscriptions)]


def _honored(wanted: SubscriptionFilter) -> SubscriptionFilter:
    """What will be delivered: every kind asked for; what was declined is left out rather than echoed."""
    return SubscriptionFilter(
        tools_list_changed=wanted.tools_list_changed or None,
        prompts_list_changed=wanted.prompts_list_changed or None,
        resources_list_changed=wanted.resources_list_changed or None,
        resource_subscriptions=list(dict.fromkeys(wanted.resource_subscriptions or ())) or None,
    )


def _event(message: dict[str, Any]) -> bytes:
    return f"event: message\r\ndata: {json.dumps(message, separators=(',', ':'), ensure_ascii=False)}\r\n\r\n".encode()
