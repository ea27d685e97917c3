"""Tools that show the request they came with: whoami, log messages, headers, MCP Apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from mcp import Client
from mcp.client import advertise
from mcp.client.streamable_http import streamable_http_client
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, LoggingMessageNotificationParams, TextResourceContents

from switchboard.everything import plugin
from switchboard.identity import Caller, Principal, serving

PAGE = "ui://hello-world/app.html"
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
ALICE = Principal("https://issuer.example", "alice", "inspector", frozenset({"mcp", "admin"}))


async def test_whoami_tells_the_principal_the_session_and_the_worker(mode: str, host: Any) -> None:
    everything = plugin({})
    with serving(Caller(ALICE, session_id="s-1")):
        assert isinstance(everything.server, MCPServer)
        async with everything.running(host), Client(everything.server, mode=mode) as client:
            result = await client.call_tool("whoami", {})
            version = client.protocol_version
    assert result.structured_content == {
        "subject": "alice",
        "issuer": "https://issuer.example",
        "client": "inspector",
        "scopes": ["admin", "mcp"],
        "session": "s-1",
        "protocolVersion": version,
        "state": "redis",
        "worker": "worker-7",
    }


async def test_whoami_without_a_login_is_anonymous(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        result = await client.call_tool("whoami", {})
    assert result.structured_content is not None
    assert (result.structured_content["subject"], result.structured_content["session"]) == ("anonymous", None)


async def test_a_call_logs_once_at_every_level(server: MCPServer[Any]) -> None:
    heard: list[LoggingMessageNotificationParams] = []

    async def listen(params: LoggingMessageNotificationParams) -> None:
        heard.append(params)

    async with Client(server, mode="legacy", logging_callback=listen) as client:
        await client.call_tool("logEveryLevel", {})
    assert [message.level for message in heard] == LEVELS
    assert {message.logger for message in heard} == {"everything"}


async def test_a_modern_client_hears_the_levels_that_it_asked_for(server: MCPServer[Any]) -> None:
    heard: list[str] = []

    async def listen(params: LoggingMessageNotificationParams) -> None:
        heard.append(params.level)

    async with Client(server, mode="auto", logging_callback=listen, log_level="error") as client:
        await client.call_tool("logEveryLevel", {})
    assert heard == LEVELS[LEVELS.index("error") :]


async def test_a_parameter_reaches_the_server_also_as_a_header(server: MCPServer[Any]) -> None:
    app = server.streamable_http_app(json_response=True)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:8000")
    async with app.router.lifespan_context(app), http:
        transport = streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http)
        async with Client(transport, mode="2026-07-28") as client:
            (schema,) = [t.input_schema for t in (await client.list_tools()).tools if t.name == "headerParameter"]
            result = await client.call_tool("headerParameter", {"region": "north"})
    assert schema["properties"]["region"]["x-mcp-header"] == "Region"
    assert result.structured_content == {"region": "north", "header": "north"}


async def test_without_http_there_is_no_header(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        result = await client.call_tool("headerParameter", {"region": "north"})
    assert result.structured_content == {"region": "north", "header": None}


async def test_hello_world_points_to_a_page_that_a_host_can_show(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        (tool,) = [t for t in (await client.list_tools()).tools if t.name == "mcp_apps_hello_world"]
        (listed,) = [r for r in (await client.list_resources()).resources if r.uri == PAGE]
        (page,) = (await client.read_resource(PAGE)).contents
        offered, version = client.server_capabilities.extensions, client.protocol_version
    assert tool.meta == {"ui": {"resourceUri": PAGE}}
    assert listed.mime_type == page.mime_type == APP_MIME_TYPE
    assert listed.meta == page.meta == {"ui": {"prefersBorder": True}}
    # The handshake versions have no place to declare extensions; the tool's metadata is all that a host needs.
    assert version < "2026-07-28" or offered == {EXTENSION_ID: {}}
    assert isinstance(page, TextResourceContents)
    assert page.text.startswith("<!doctype html>")
    assert "ui/initialize" in page.text


async def test_hello_world_greets_in_words_where_no_page_can_be_shown(
    connect: Callable[..., Client], words: Callable[[CallToolResult], str]
) -> None:
    async with connect() as client:
        plain = await client.call_tool("mcp_apps_hello_world", {})
    async with connect(extensions=[advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})]) as client:
        shown = await client.call_tool("mcp_apps_hello_world", {})
    assert words(plain) == "Hello from MCP Apps!"
    assert words(shown) == "The greeting is shown in an interactive page."
    assert shown.structured_content is not None
    assert shown.structured_content["greeting"] == "Hello from MCP Apps!"
