from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from switchboard.gateway import LiveCatalog, build_gateway
from switchboard.plugins import Plugin, PluginProvider
from tests.gateway.conftest import LonelyHost, OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def shelf(count: int) -> MCPServer[Any]:
    server = MCPServer("shelf")
    for number in range(count):
        server.resource(f"shelf://{number}", name=str(number))(lambda: "x")
    return server


@ERAS
async def test_a_list_comes_in_the_pages_its_plugin_asks_for_and_is_whole_and_in_order(
    host: LonelyHost, era: str
) -> None:
    plugin = Plugin("shelf", "1", shelf(25), page_sizes={"resources": 10})
    catalog = LiveCatalog([PluginProvider(plugin)], bus=InMemorySubscriptionBus())
    server = build_gateway(catalog, bus=InMemorySubscriptionBus())
    seen: list[list[str]] = []
    async with catalog.running(host), Client(server, mode=era) as client:
        cursor = None
        while cursor is not None or not seen:
            page = await client.list_resources(cursor=cursor)
            seen.append([resource.uri for resource in page.resources])
            cursor = page.next_cursor
    assert [len(uris) for uris in seen] == [10, 10, 5]
    assert [uri for uris in seen for uri in uris] == [f"shelf://{number}" for number in range(25)]


@ERAS
@pytest.mark.parametrize("method", ["list_tools", "list_resources", "list_resource_templates", "list_prompts"])
async def test_a_cursor_that_was_not_minted_for_this_list_is_invalid(
    open_gateway: OpenGateway, era: str, method: str
) -> None:
    async with open_gateway((shelf(1), "never")) as opened, Client(opened.server, mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await getattr(client, method)(cursor="cmVzb3VyY2U6MTA")
    assert caught.value.code == INVALID_PARAMS


@ERAS
async def test_lists_of_a_gateway_without_plugins_are_empty(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway() as opened, Client(opened.server, mode=era) as client:
        assert (await client.list_tools()).tools == []
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []
