"""A gateway over small real plugins, reached by the SDK's own client in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ServerEvent

from switchboard.config import Prefix
from switchboard.gateway import Gateway, LiveCatalog, build_gateway
from switchboard.plugins import OpenStream, Plugin, PluginProvider


@dataclass
class LonelyHost:
    """A host of one worker without streams."""

    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    worker: str = "w1"
    state: str = "memory://"

    def streams(self) -> Iterable[OpenStream]:
        return ()

    async def publish(self, event: ServerEvent) -> None:
        await self.bus.publish(event)


@dataclass
class Opened:
    """A running gateway and what it stands on."""

    server: Gateway
    catalog: LiveCatalog
    host: LonelyHost


Mounted = tuple[MCPServer[Any], Prefix]
OpenGateway = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def open_gateway() -> OpenGateway:
    """`open_gateway((server, prefix), …, **what build_gateway takes)`: plugins are named as their servers are."""

    @asynccontextmanager
    async def opening(*mounted: Mounted, **options: Any) -> AsyncIterator[Opened]:
        host = LonelyHost()
        providers = [PluginProvider(Plugin(server.name, "1", server), prefix=prefix) for server, prefix in mounted]
        catalog = LiveCatalog(providers, bus=host.bus)
        server = build_gateway(catalog, bus=host.bus, **options)
        async with catalog.running(host):
            yield Opened(server, catalog, host)

    return opening


@pytest.fixture
def host() -> LonelyHost:
    """A host of one worker without streams."""
    return LonelyHost()
