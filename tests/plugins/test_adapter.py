"""The contract between the adapter and the SDK's private parts: when an SDK release moves one, these say which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp import Client
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

from switchboard.errors import StateUnavailable
from switchboard.plugins import Host, OpenStream, Plugin, PluginProvider


@dataclass
class RecordingHost:
    """Takes down what is published, and can be without Redis."""

    heard: list[ServerEvent] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    worker: str = "w1"
    state: str = "memory://"

    def streams(self) -> Iterable[OpenStream]:
        return ()

    async def publish(self, event: ServerEvent) -> None:
        await asyncio.sleep(0)  # publishing takes its time, so whoever does not wait for it is found out
        await asyncio.sleep(0)
        self.told.set()
        if self.away:
            raise StateUnavailable
        self.heard.append(event)


def notifying(bus: InMemorySubscriptionBus | None = None) -> MCPServer[Any]:
    server = MCPServer("notifying", subscriptions=bus)

    @server.tool()
    async def notify(ctx: Context[Any, Any]) -> str:
        """Announce everything there is to announce."""
        await ctx.notify_tools_changed()
        await ctx.notify_prompts_changed()
        await ctx.notify_resources_changed()
        await ctx.notify_resource_updated("x://y")
        return "done"

    return server


async def call(provider: PluginProvider, tool: str) -> CallToolResult:
    """Call a tool with a real context, through a server that only passes it on."""

    async def pass_on(ctx: Any, params: CallToolRequestParams) -> Any:
        return await provider.handle("tools/call", ctx, params)

    async def list_tools(_ctx: Any, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=list((await provider.offer()).tools))

    front: Server[Any] = Server("front", on_call_tool=pass_on, on_list_tools=list_tools)
    async with Client(front) as client:
        return await client.call_tool(tool, {})


async def test_what_handlers_announce_arrives_at_the_host() -> None:
    host = RecordingHost()
    provider = PluginProvider(Plugin("notifying", "1", notifying()))
    async with provider.running(host):
        await call(provider, "notify")
        assert host.heard == [
            ToolsListChanged(),
            PromptsListChanged(),
            ResourcesListChanged(),
            ResourceUpdated("x://y"),
        ]
    await call(provider, "notify")
    assert len(host.heard) == 4


async def test_announcing_returns_when_the_host_has_the_event() -> None:
    host = RecordingHost()
    server = MCPServer("notifying")

    @server.tool()
    async def notify(ctx: Context[Any, Any]) -> int:
        """Announce, and count what the host has heard by then."""
        await ctx.notify_tools_changed()
        return len(host.heard)

    provider = PluginProvider(Plugin("notifying", "1", server))
    async with provider.running(host):
        result = await call(provider, "notify")
    assert result.structured_content == {"result": 1}


async def test_what_a_plugin_publishes_on_its_own_bus_arrives_too_and_only_once() -> None:
    host, bus = RecordingHost(), InMemorySubscriptionBus()
    provider = PluginProvider(Plugin("notifying", "1", notifying(bus)))
    async with provider.running(host):
        await bus.publish(ResourceUpdated("own://1"))
        await asyncio.wait_for(host.told.wait(), 60)
        assert host.heard == [ResourceUpdated("own://1")]
        await call(provider, "notify")
    assert len(host.heard) == 5


async def test_an_event_that_cannot_be_published_does_not_end_the_plugin(caplog: pytest.LogCaptureFixture) -> None:
    host, bus = RecordingHost(away=True), InMemorySubscriptionBus()
    provider = PluginProvider(Plugin("notifying", "1", notifying(bus)))
    async with provider.running(host):
        await bus.publish(ResourceUpdated("lost://1"))
        await asyncio.wait_for(host.told.wait(), 60)
        host.away = False
        host.told.clear()
        await bus.publish(ResourceUpdated("kept://1"))
        await asyncio.wait_for(host.told.wait(), 60)
    assert host.heard == [ResourceUpdated("kept://1")]
    assert "lost://1" in caplog.text


async def test_a_plugin_lives_inside_its_sdk_lifespan() -> None:
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(_server: MCPServer[None]) -> AsyncIterator[None]:
        order.append("lifespan")
        yield
        order.append("end of lifespan")

    @asynccontextmanager
    async def running(host: Host) -> AsyncIterator[None]:
        order.append(f"running on {host.worker}")
        yield
        order.append("end of running")

    provider = PluginProvider(Plugin("p", "1", MCPServer("p", lifespan=lifespan), running=running))
    async with provider.running(RecordingHost()):
        order.append("serving")
    assert order == ["lifespan", "running on w1", "serving", "end of running", "end of lifespan"]


async def test_an_offer_has_what_the_plugin_has_now() -> None:
    server = notifying()
    provider = PluginProvider(Plugin("notifying", "1", server, page_sizes={"tools": 3}), prefix="conflict")
    server.add_tool(lambda: 1, name="late", description="Late.")
    offer = await provider.offer()
    assert [tool.name for tool in offer.tools] == ["notify", "late"]
    assert (offer.provider, offer.prefix, offer.page_sizes) == ("notifying", "conflict", {"tools": 3})
