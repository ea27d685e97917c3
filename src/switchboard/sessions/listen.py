"""`subscriptions/listen` (2026-07-28, SEP-2575): one request whose response is a stream of change notices.

Our own, because the SDK's handler costs a task group and a memory stream for each of thousands of idle streams. Events
are level triggers, so what is pending is a set: a slow reader gets each change once, and memory stays bounded.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Literal

from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourceUpdated,
    ServerEvent,
    event_matches,
    event_to_notification,
)
from mcp_types import LoggingLevel, RequestId, SubscriptionFilter

from switchboard.sessions.bus import EVERYTHING, RedisBus
from switchboard.sessions.frames import KEEPALIVE, KEEPALIVE_S

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


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
    ) -> None:
        self._id = request_id
        self._honored = _honored(wanted)
        self._server_info = server_info
        self._expires_at = expires_at
        self.subscriptions = frozenset(self._honored.resource_subscriptions or ())
        self._pending: dict[ServerEvent, None] = {}
        self._wake = asyncio.Event()
        self._over = False

    def deliver(self, event: ServerEvent) -> None:
        """Note an event, if the client asked for its kind."""
        if event_matches(self._honored, self.subscriptions, event):
            self._pending[event] = None
            self._wake.set()

    def interrupted(self) -> None:
        """Events may have been missed: tell the client that all it asked for may have changed."""
        for event in (*EVERYTHING, *(ResourceUpdated(uri) for uri in self.subscriptions)):
            self.deliver(event)

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Resource updates are what a plugin may send here; the revision allows nothing else on this stream."""
        if method == "notifications/resources/updated":
            self.deliver(ResourceUpdated(str(params["uri"])))

    def end(self) -> None:
        """End the stream with its result, which tells the client that it ended on purpose."""
        self._over = True
        self._wake.set()

    async def events(self, bus: RedisBus) -> AsyncGenerator[bytes]:
        """The stream as server-sent events: the acknowledgement, then notices, then the result."""
        remove = bus.subscribe(self.deliver)
        try:
            honored = self._honored.model_dump(by_alias=True, mode="json", exclude_none=True)
            yield _event(
                {
                    "jsonrpc": "2.0",
                    "method": ACKNOWLEDGED,
                    "params": {"notifications": honored, "_meta": self._meta()},
                }
            )
            while not self._over:
                for event in self._taken():
                    yield _event(self._notice(event))
                if not await self._woken():
                    yield KEEPALIVE
            yield _event({"jsonrpc": "2.0", "id": self._id, "result": self._result()})
        finally:
            remove()

    def _taken(self) -> list[ServerEvent]:
        self._wake.clear()
        taken = list(self._pending)
        self._pending.clear()
        return taken

    async def _woken(self) -> bool:
        pause = KEEPALIVE_S if self._expires_at is None else min(KEEPALIVE_S, max(self._expires_at - time.time(), 0))
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._over = self._expires_at is not None and time.time() >= self._expires_at
            return False
        return True

    def _notice(self, event: ServerEvent) -> dict[str, Any]:
        notice = event_to_notification(event, self._meta()).model_dump(by_alias=True, mode="json", exclude_none=True)
        return {"jsonrpc": "2.0", **notice}

    def _result(self) -> dict[str, Any]:
        meta = {**self._meta(), "io.modelcontextprotocol/serverInfo": self._server_info}
        return {"resultType": "complete", "_meta": meta}

    def _meta(self) -> dict[str, Any]:
        return {SUBSCRIPTION_ID_META_KEY: self._id}


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
