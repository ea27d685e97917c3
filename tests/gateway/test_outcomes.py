"""Errors in answers are counted by method and code, alike on the fast path and in the kernel."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from switchboard.gateway import FastPath
from switchboard.protocol.direct_requests import KnownResponse, PreparedInContext
from switchboard.telemetry.metrics import RPC_ERRORS
from tests.gateway.conftest import OpenGateway
from tests.telemetry.counting import Counted
from tools.messages import HANDSHAKE, call


def failing() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("failing")

    @server.tool()
    def fail() -> str:
        raise ValueError("no")

    @server.tool()
    def refuse(code: int) -> str:
        raise MCPError(code, "no")

    @server.tool()
    def work() -> str:
        return "yes"

    return server


ENDS = [
    ("fail", {}, {("tools/call", "tool_error"): 1}),
    ("refuse", {"code": -32050}, {("tools/call", "-32050"): 1}),
    ("refuse", {"code": -32602}, {("tools/call", "-32602"): 1}),
    ("refuse", {"code": 4711}, {("tools/call", "other"): 1}),
    ("work", {}, {}),
]


@pytest.mark.parametrize(("tool", "arguments", "counted"), ENDS)
async def test_an_error_is_counted_once_whichever_way_its_request_went(
    open_gateway: OpenGateway, tool: str, arguments: dict[str, Any], counted: dict[Any, int]
) -> None:
    async with open_gateway((failing(), "never")) as opened:
        path, before = FastPath(opened.server, opened.catalog), Counted(RPC_ERRORS)
        prepared = path.prepare(HANDSHAKE, call(tool, arguments))
        assert prepared is not None
        assert not isinstance(prepared, KnownResponse | PreparedInContext)
        try:
            await prepared.run()
        except MCPError:
            assert counted
        assert before.since() == counted
        async with Client(opened.server, mode="legacy") as client:
            await client.list_tools()  # which the SDK's client would do after its first call
            again = Counted(RPC_ERRORS)
            try:
                await client.call_tool(tool, arguments)
            except MCPError:
                assert counted
            assert again.since() == counted
