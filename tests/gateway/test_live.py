from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged

from switchboard.errors import ConfigurationError
from switchboard.gateway import LiveCatalog
from switchboard.plugins import Host, Plugin, PluginProvider
from tests.gateway.conftest import LonelyHost


class Moody(PluginProvider):
    """A provider that can fail to say what it offers."""

    broken = False

    async def offer(self) -> Any:
        if self.broken:
            raise ConnectionError("gone")
        return await super().offer()


def provider(name: str, *tools: str) -> Moody:
    server = MCPServer(name)
    for tool in tools:
        server.add_tool(lambda: "x", name=tool, description="X.")
    return Moody(Plugin(name, "1", server))


async def test_a_provider_that_breaks_keeps_its_last_known_offer_and_the_others_change(
    host: LonelyHost, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = provider("a", "x"), provider("b", "y")
    catalog = LiveCatalog([first, second], bus=InMemorySubscriptionBus())
    async with catalog.running(host):
        first.broken = True
        second._plugin.server.add_tool(lambda: "z", name="z", description="Z.")
        await catalog.refresh()
    assert list(catalog.current().tools.entries) == ["a__x", "b__y", "b__z"]
    assert "a does not say what it offers" in caplog.text


async def test_a_snapshot_without_a_difference_is_the_same_snapshot(host: LonelyHost) -> None:
    catalog = LiveCatalog([provider("a", "x")], bus=host.bus)
    async with catalog.running(host):
        before = catalog.current()
        await host.bus.publish(ToolsListChanged())
        assert await catalog.fresh() is before


async def test_whoever_is_told_of_a_change_already_finds_it_in_the_snapshot(host: LonelyHost) -> None:
    seen: list[list[str]] = []
    growing = MCPServer("growing")
    hosts: list[Host] = []

    @asynccontextmanager
    async def running(given: Host) -> AsyncIterator[None]:
        hosts.append(given)
        yield

    catalog = LiveCatalog([PluginProvider(Plugin("growing", "1", growing, running=running))], bus=host.bus)

    def look(_event: ServerEvent) -> None:
        seen.append(list(catalog.current().tools.entries))

    async with catalog.running(host):
        host.bus.subscribe(look)
        growing.add_tool(lambda: "x", name="x", description="X.")
        await hosts[0].publish(ResourceUpdated("x://y"))
        await hosts[0].publish(ToolsListChanged())
    assert seen == [[], ["growing__x"]]
    assert (hosts[0].worker, hosts[0].state, list(hosts[0].streams())) == ("w1", "memory://", [])


async def test_what_is_rejected_is_logged_with_the_reason(host: LonelyHost, caplog: pytest.LogCaptureFixture) -> None:
    mounted = [PluginProvider(provider(name, "x")._plugin, prefix="never") for name in ("a", "b")]
    with caplog.at_level(logging.WARNING):
        async with LiveCatalog(mounted, bus=host.bus).running(host):
            pass
    assert "not offered: tools 'x' of b: 'x' is taken by 'a'" in caplog.text


async def test_a_plugin_that_does_not_start_is_named(host: LonelyHost) -> None:
    @asynccontextmanager
    async def failing(_host: Host) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    broken = PluginProvider(Plugin("broken", "1", MCPServer("broken"), running=failing))
    with pytest.raises(ConfigurationError, match="broken did not start: OSError: no database"):
        async with LiveCatalog([provider("a"), broken], bus=host.bus).running(host):
            pass


async def test_an_error_of_the_worker_passes_by_the_task_groups_of_plugins_as_it_is(host: LonelyHost) -> None:
    stopped: list[str] = []

    @asynccontextmanager
    async def busy(_host: Host) -> AsyncIterator[None]:
        async with asyncio.TaskGroup():
            yield
        stopped.append("busy")

    plugin = PluginProvider(Plugin("busy", "1", MCPServer("busy"), running=busy))
    with pytest.raises(LookupError, match="of the worker"):
        async with LiveCatalog([plugin], bus=host.bus).running(host):
            raise LookupError("of the worker")
    assert stopped == ["busy"]


def test_two_providers_of_one_name_are_refused(host: LonelyHost) -> None:
    with pytest.raises(ConfigurationError, match="same name"):
        LiveCatalog([provider("a"), provider("a")], bus=host.bus)
