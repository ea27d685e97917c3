"""How a plugin's events reach the host: what its handlers publish, and what its own code publishes on its own bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.subscriptions import ServerEvent

from switchboard.aio import background
from switchboard.errors import StateUnavailable
from switchboard.plugins.api import Host

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostBus:
    """The bus behind `ctx.notify_*`: publishing returns when the host has the event."""

    host: Host
    own: SubscriptionBus
    """The plugin's own bus, for plugin code that listens to itself."""

    async def publish(self, event: ServerEvent) -> None:
        """Tell the host."""
        await self.host.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Listen to the plugin's own bus."""
        return self.own.subscribe(listener)


@asynccontextmanager
async def forwarded(bus: SubscriptionBus, host: Host) -> AsyncIterator[None]:
    """While entered, pass on what is published directly on `bus`. Equal events waiting to be passed on become one."""
    waiting: dict[ServerEvent, None] = {}
    arrived = asyncio.Event()

    def note(event: ServerEvent) -> None:
        waiting[event] = None
        arrived.set()

    async def forward() -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            while waiting:
                event = next(iter(waiting))
                del waiting[event]
                await _told(host, event)

    unsubscribe = bus.subscribe(note)
    try:
        async with background(forward()):
            yield
    finally:
        unsubscribe()


async def _told(host: Host, event: ServerEvent) -> None:
    try:
        await host.publish(event)
    except StateUnavailable:
        # Events only say "look again", so losing one while Redis is away loses no data.
        logger.warning("an event could not be published: %r", event)
