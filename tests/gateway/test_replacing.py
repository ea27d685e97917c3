"""Build the next, swap, stop the old: nobody notices but those whom it is about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ServerEvent, ToolsListChanged

from switchboard.errors import ConfigurationError
from switchboard.gateway import LiveCatalog, build_gateway, initialization_options
from switchboard.plugins import Host, Plugin, PluginProvider
from tests.gateway.conftest import LonelyHost


class Watched:
    """A plugin that tells when it runs."""

    def __init__(self, name: str, tool: str = "x", *, broken: bool = False, instructions: str | None = None) -> None:
        self.log: list[str] = []
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        server: MCPServer[Any] = MCPServer(name, instructions=instructions)
        server.add_tool(self.hold, name=tool, description="Holds.")
        self.provider = PluginProvider(Plugin(name, "1", server, running=self.running))
        self._broken = broken

    @asynccontextmanager
    async def running(self, _host: Host) -> AsyncIterator[None]:
        if self._broken:
            raise OSError("no")
        self.log.append("started")
        yield
        self.log.append("ended")

    async def hold(self) -> str:
        """Until released."""
        self.entered.set()
        await self.release.wait()
        return "done"


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_only_what_changed_is_started_and_stopped_and_the_order_is_the_new_one(host: LonelyHost) -> None:
    a, b, c = Watched("a"), Watched("b"), Watched("c")
    live = LiveCatalog([a.provider, b.provider], bus=host.bus)
    async with live.running(host):
        await live.replace([c.provider, b.provider])
        await until(lambda: a.log == ["started", "ended"])
        assert (b.log, c.log) == (["started"], ["started"])
        assert list(live.current().tools.entries) == ["c__x", "b__x"]
    assert (b.log, c.log) == (["started", "ended"], ["started", "ended"])


async def test_a_changed_list_is_announced_and_an_unchanged_one_is_not(host: LonelyHost) -> None:
    told: list[ServerEvent] = []
    host.bus.subscribe(told.append)
    a, again, other = Watched("a"), Watched("a"), Watched("a", tool="y")
    live = LiveCatalog([a.provider], bus=host.bus)
    async with live.running(host):
        await live.replace([again.provider])
        assert told == []
        await live.replace([other.provider])
        assert told == [ToolsListChanged()]


async def test_a_request_on_what_is_replaced_is_finished_first(host: LonelyHost) -> None:
    old, new = Watched("a"), Watched("a")
    live = LiveCatalog([old.provider], bus=host.bus)
    server = build_gateway(live, bus=host.bus)
    async with live.running(host), Client(server) as client, asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(client.call_tool("a__x"))
        await old.entered.wait()
        await live.replace([new.provider])
        assert "ended" not in old.log
        new.release.set()
        assert not (await client.call_tool("a__x")).is_error
        old.release.set()
        assert not (await calling).is_error
        await until(lambda: old.log == ["started", "ended"])


async def test_one_that_does_not_start_leaves_everything_as_it_was(host: LonelyHost) -> None:
    a, b, broken = Watched("a"), Watched("b"), Watched("c", broken=True)
    live = LiveCatalog([a.provider], bus=host.bus)
    async with live.running(host):
        before = live.current()
        with pytest.raises(ConfigurationError, match="c did not start: OSError: no"):
            await live.replace([b.provider, broken.provider])
        assert live.current() is before
        assert [provider.name for provider in live.providers] == ["a"]
        assert (a.log, b.log) == (["started"], ["started", "ended"])


async def test_what_providers_say_about_themselves_follows_the_change(host: LonelyHost) -> None:
    one, two = Watched("a", instructions="Ask."), Watched("b", instructions="Do not ask.")
    live = LiveCatalog([one.provider], bus=host.bus)
    server = build_gateway(live, bus=host.bus)
    live.on_change(server.refit)
    options = initialization_options(server)
    async with live.running(host):
        assert options.instructions == "a: Ask."
        await live.replace([two.provider])
        async with Client(server, mode="legacy") as client:
            assert client.instructions == "b: Do not ask."
        assert options.instructions == "b: Do not ask."


async def test_a_method_of_a_provider_that_is_gone_is_unknown(host: LonelyHost) -> None:
    live = LiveCatalog([Watched("a").provider], bus=host.bus)
    server = build_gateway(live, bus=host.bus)
    async with live.running(host), Client(server) as client:
        await live.replace([])
        with pytest.raises(MCPError, match="Unknown tool: a__x"):
            await client.call_tool("a__x")


async def test_a_provider_that_breaks_while_it_runs_breaks_alone(
    host: LonelyHost, caplog: pytest.LogCaptureFixture
) -> None:
    breaking = asyncio.Event()

    @asynccontextmanager
    async def running(_host: Host) -> AsyncIterator[None]:
        async def crash() -> None:
            await breaking.wait()
            raise OSError("disk gone")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crash())
            yield

    fragile = PluginProvider(Plugin("fragile", "1", MCPServer("fragile"), running=running))
    other = Watched("other")
    live = LiveCatalog([fragile, other.provider], bus=host.bus)
    async with live.running(host):
        breaking.set()
        await until(lambda: "fragile broke" in caplog.text)
        assert other.log == ["started"]


async def test_a_swap_that_is_cut_short_still_ends_what_was_replaced(
    host: LonelyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Watched("a"), Watched("a")
    asked = asyncio.Event()

    async def never() -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(new.provider, "offer", never)
    live = LiveCatalog([old.provider], bus=host.bus)
    async with live.running(host):
        swapping = asyncio.ensure_future(live.replace([new.provider]))
        await asked.wait()
        swapping.cancel()
        await asyncio.wait([swapping])
        await until(lambda: old.log == ["started", "ended"])
