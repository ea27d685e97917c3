from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import INVALID_PARAMS, JSONRPCError, JSONRPCRequest

from switchboard.gateway import initialization_options, list_pages
from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def pair() -> MCPServer[Any]:
    server = MCPServer("pair")
    for name in ("x", "y"):
        server.add_tool(lambda: "x", name=name, description="Some.")
    return server


async def names(client: Client, **options: Any) -> list[str]:
    return [tool.name for tool in (await client.list_tools(cache_mode="bypass", **options)).tools]


@ERAS
async def test_a_remembered_page_is_the_page_the_kernel_made(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((pair(), "always")) as opened, Client(opened.server, mode=era) as client:
        first = await client.list_tools(cache_mode="bypass")
        assert await client.list_tools(cache_mode="bypass") == first


async def test_a_page_made_for_one_protocol_version_is_not_sent_to_another(open_gateway: OpenGateway) -> None:
    async with open_gateway((pair(), "always")) as opened:
        async with Client(opened.server) as modern:
            assert (await modern.session.list_tools()).cache_scope == "public"
        async with Client(opened.server, mode="legacy") as handshake:
            assert "cache_scope" not in (await handshake.session.list_tools()).model_fields_set


@ERAS
async def test_a_remembered_page_is_forgotten_when_the_list_changes(open_gateway: OpenGateway, era: str) -> None:
    server = pair()
    async with open_gateway((server, "never")) as opened, Client(opened.server, mode=era) as client:
        assert await names(client) == ["x", "y"]
        server.remove_tool("x")
        await opened.host.publish(ToolsListChanged())
        assert await names(client) == ["y"]


@ERAS
async def test_a_remembered_page_does_not_answer_an_invalid_cursor(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((pair(), "never")) as opened, Client(opened.server, mode=era) as client:
        await names(client)
        for _ in range(2):
            with pytest.raises(MCPError) as caught:
                await names(client, cursor="nonsense")
            assert caught.value.code == INVALID_PARAMS


async def test_a_remembered_page_does_not_open_the_gate_before_the_handshake(open_gateway: OpenGateway) -> None:
    async with open_gateway((pair(), "never")) as opened:
        async with Client(opened.server, mode="legacy") as client:
            await names(client)
        async with create_client_server_memory_streams() as (ours, theirs), anyio.create_task_group() as tasks:
            tasks.start_soon(opened.server.run, *theirs, initialization_options(opened.server))
            await ours[1].send(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/list")))
            answer = await ours[0].receive()
            tasks.cancel_scope.cancel()
    assert isinstance(answer, SessionMessage)
    assert isinstance(answer.message, JSONRPCError)
    assert answer.message.error.code == INVALID_PARAMS


async def test_the_kernel_shapes_each_page_once(open_gateway: OpenGateway) -> None:
    made: list[str] = []
    async with open_gateway((pair(), "never")) as opened:
        entry = opened.server.get_request_handler("tools/list")
        assert entry is not None

        async def counting(ctx: Any, params: Any) -> Any:
            made.append(ctx.protocol_version)
            return await entry.handler(ctx, params)

        opened.server.add_request_handler("tools/list", entry.params_type, counting)
        for mode in ("auto", "legacy", "auto", "legacy"):
            async with Client(opened.server, mode=mode) as client:
                assert await names(client) == ["x", "y"]
    assert len(made) == len(set(made)) == 2


async def test_pages_are_remembered_of_so_many_lists_and_forgotten_of_the_one_that_was_asked_for_longest_ago(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_pages, "LISTS", 2)
    server = pair()
    async with open_gateway((server, "never")) as opened, Client(opened.server, mode="legacy") as client:
        for number in range(4):
            await names(client)
            server.add_tool(lambda: "x", name=f"z{number}", description="Some.")
            await opened.host.publish(ToolsListChanged())
        assert await names(client) == ["x", "y", "z0", "z1", "z2", "z3"]
        digest = opened.catalog.current().tools.digest
        assert len(opened.server.pages._remembered) == 2
        assert list(opened.server.pages._remembered)[-1] == ("tools", digest)
