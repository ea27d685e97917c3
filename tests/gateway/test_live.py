from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged
from mcp_types import Tool

from switchboard.config import Prefix
from switchboard.errors import ConfigurationError
from switchboard.gateway import LiveCatalog
from switchboard.gateway.live import LARGE
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
        second._server.add_tool(lambda: "z", name="z", description="Z.")
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


@dataclass(frozen=True)
class Watched:
    """An offer that notes which thread a snapshot is made of it in."""

    tools: Sequence[Tool]
    threads: list[int]
    provider: str = "a"
    prefix: Prefix = "always"
    resources: Sequence[Any] = ()
    templates: Sequence[Any] = ()
    prompts: Sequence[Any] = ()
    page_sizes: Mapping[Any, int] = field(default_factory=dict)

    @property
    def cache_hints(self) -> Mapping[str, CacheHint]:
        self.threads.append(threading.get_ident())
        return {}


class Watching(Moody):
    """A provider of as many tools as it is told to have."""

    number = 1
    threads: list[int]

    async def offer(self) -> Any:
        return Watched([Tool(name=f"t{i}", input_schema={"type": "object"}) for i in range(self.number)], self.threads)


@pytest.mark.parametrize(("number", "beside"), [(LARGE - 1, False), (LARGE, True)])
async def test_a_large_snapshot_is_made_beside_the_event_loop(host: LonelyHost, number: int, beside: bool) -> None:
    watching = Watching(Plugin("a", "1", MCPServer("a")))
    watching.threads, watching.number = [], number
    catalog = LiveCatalog([watching], bus=host.bus)
    async with catalog.running(host):
        assert len(catalog.current().tools.entries) == number
    assert (threading.get_ident() not in watching.threads) is beside


async def test_a_change_is_looked_at_again_when_whoever_looked_first_has_left(host: LonelyHost) -> None:
    slow = provider("a", "x")
    catalog = LiveCatalog([slow], bus=host.bus)
    async with catalog.running(host):
        asked, answers = asyncio.Event(), asyncio.Event()

        async def offer() -> Any:
            asked.set()
            await answers.wait()
            return await PluginProvider.offer(slow)

        slow.offer = offer  # type: ignore[method-assign]
        slow._server.add_tool(lambda: "y", name="y", description="Y.")
        await host.bus.publish(ToolsListChanged())
        leaving = asyncio.create_task(catalog.fresh())
        await asked.wait()
        leaving.cancel()
        await asyncio.wait((leaving,))
        answers.set()
        assert "a__y" in (await catalog.fresh()).tools.entries
