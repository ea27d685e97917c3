from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from switchboard.catalog import UnknownSelection, shapes
from switchboard.config import Exposure, Preset, ToolSearch
from switchboard.gateway import FastPath, Gateway, LiveCatalog, SelectedCatalog, build_gateway
from switchboard.identity import Caller, Principal, serving
from switchboard.plugins import Plugin, PluginProvider
from tests.gateway.conftest import LonelyHost
from tools.messages import call, request

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def files() -> MCPServer[Any]:
    server = MCPServer("files")

    @server.tool(description="Read a file")
    def read(name: str) -> str:
        return f"text of {name}"

    @server.tool(description="Delete a file for good")
    def delete(name: str) -> str:
        return f"deleted {name}"

    return server


@asynccontextmanager
async def opened(
    host: LonelyHost,
    exposure: dict[str, Any],
    presets: dict[str, Preset] | None = None,
    search: ToolSearch | None = None,
) -> AsyncIterator[tuple[Gateway, SelectedCatalog]]:
    """A gateway over one plugin with that exposure."""
    provider = PluginProvider(Plugin("files", "1", files()))
    live = LiveCatalog([provider], bus=host.bus, shapes=shapes({"files": Exposure.model_validate(exposure)}))
    source = SelectedCatalog(live, presets, search)
    server = build_gateway(source, bus=host.bus)
    async with live.running(host):
        yield server, source


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@ERAS
async def test_clients_of_different_presets_see_different_lists_of_one_server(host: LonelyHost, era: str) -> None:
    exposure = {"tools": {"delete": {"tags": ["danger"]}}}
    async with opened(host, exposure, {"safe": Preset(tags="!danger")}) as (server, source):
        with source.serving(b"preset=safe"):
            async with Client(server, mode=era) as client:
                assert await names(client) == ["files__read"]
                with pytest.raises(MCPError, match="Unknown tool: files__delete"):
                    await client.call_tool("files__delete", {"name": "x"})
        async with Client(server, mode=era) as client:
            assert await names(client) == ["files__read", "files__delete"]
        with source.serving(b"tags=danger"):
            async with Client(server, mode=era) as client:
                assert await names(client) == ["files__delete"]
                assert await names(client) == ["files__delete"]


async def test_a_preset_that_there_is_not_is_no_url(host: LonelyHost) -> None:
    async with opened(host, {}) as (_, source):
        with pytest.raises(UnknownSelection), source.serving(b"preset=gone"):
            pass


async def test_a_preset_taken_away_says_so_and_a_changed_one_counts_at_once(host: LonelyHost) -> None:
    async with opened(host, {}, {"p": Preset(allow=("*read",))}) as (server, source):
        with source.serving(b"preset=p"):
            async with Client(server) as client:
                assert await names(client) == ["files__read"]
                source.change({"p": Preset(allow=("*delete",))}, ToolSearch())
                assert list(source.current().tools.entries) == ["files__delete"]
                source.change({}, ToolSearch())
                with pytest.raises(MCPError, match="no preset 'p'"):
                    await client.call_tool("files__read", {"name": "x"})


@ERAS
async def test_tools_that_are_not_listed_are_found_and_called(host: LonelyHost, era: str) -> None:
    async with (
        opened(host, {}, search=ToolSearch(enabled=True)) as (server, _),
        Client(server, mode=era) as client,
    ):
        assert await names(client) == ["discover_tools", "call_tool"]
        found = (await client.call_tool("discover_tools", {"query": "delete a file"})).structured_content
        assert found["tools"][0]["name"] == "files__delete"
        assert found["tools"][0]["inputSchema"]["required"] == ["name"]
        assert found["available"] == 2
        assert 0 < found["estimatedTokens"] <= found["estimatedTokensOfAll"]
        direct = await client.call_tool("files__delete", {"name": "x"})
        through = await client.call_tool("call_tool", {"name": "files__delete", "arguments": {"name": "x"}})
        assert direct.content == through.content


@pytest.mark.parametrize(
    ("tool", "arguments", "complaint"),
    [
        ("discover_tools", {"limit": 0}, "limit must be at least 1"),
        ("discover_tools", {"q": "x"}, "q is not known"),
        ("call_tool", {}, "name is missing"),
    ],
)
async def test_wrong_arguments_of_the_search_are_said(
    host: LonelyHost, tool: str, arguments: dict[str, Any], complaint: str
) -> None:
    async with opened(host, {}, search=ToolSearch(enabled=True)) as (server, _), Client(server) as client:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert complaint in json.dumps(result.model_dump(mode="json"))


@pytest.mark.parametrize("name", ["gone", "call_tool", "discover_tools"])
async def test_what_cannot_be_called_through_the_search_is_unknown(host: LonelyHost, name: str) -> None:
    async with opened(host, {}, search=ToolSearch(enabled=True)) as (server, _), Client(server) as client:
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("call_tool", {"name": name})


@pytest.mark.parametrize("tool", ["files__delete", "call_tool"])
async def test_a_tool_that_needs_a_scope_is_listed_and_refused_without_it(host: LonelyHost, tool: str) -> None:
    exposure = {"tools": {"delete": {"scopes": ["files:write", "files:all"]}}}
    arguments = {"name": "files__delete", "arguments": {"name": "x"}} if tool == "call_tool" else {"name": "x"}
    async with opened(host, exposure, search=ToolSearch(enabled=True, keep=("*",))) as (server, source):
        some = Principal("i", "s", "c", frozenset({"mcp", "files:write"}))
        with serving(Caller(some)):
            async with Client(server) as client:
                assert "files__delete" in await names(client)
                with pytest.raises(MCPError, match="needs a token with: files:all files:write"):
                    await client.call_tool(tool, arguments)
        every = Principal("i", "s", "c", frozenset({"mcp", "files:write", "files:all"}))
        with serving(Caller(every)):
            async with Client(server) as client:
                assert not (await client.call_tool(tool, arguments)).is_error
        every_call = {"name": tool, "arguments": arguments}
        assert source.entry_scopes("tools/call", every_call) == {"files:write", "files:all"}
        assert (
            source.entry_scopes("tools/call", {"name": "files__read", "arguments": {"name": "files__delete"}})
            == frozenset()
        )
        assert source.entry_scopes("tools/call", {"name": 3}) == frozenset()


@pytest.mark.parametrize("sent", [call("files__read", {"name": "x"}), request("tools/list")])
async def test_the_fast_path_leaves_a_request_whose_preset_was_taken_away_to_whoever_says_so(
    host: LonelyHost, sent: dict[str, Any]
) -> None:
    async with opened(host, {}, {"p": Preset(allow=("*read",))}) as (server, source):
        path = FastPath(server, source)
        with source.serving(b"preset=p"):
            source.change({}, ToolSearch())
            assert path.called(sent) is None
            assert path.prepare("2025-11-25", sent) is None
