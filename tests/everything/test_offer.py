"""What the plugin offers, before anybody calls anything."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer

from switchboard.errors import ConfigurationError
from switchboard.everything import plugin

REFERENCE_TOOLS = (
    "echo",
    "add",
    "longRunningOperation",
    "sampleLLM",
    "getTinyImage",
    "annotatedMessage",
    "getResourceReference",
    "elicitInputs",
    "mcp_apps_hello_world",
)
FURTHER_TOOLS = (
    "getStructuredContent",
    "getResourceLinks",
    "elicitUrl",
    "listRoots",
    "multiRoundTrip",
    "headerParameter",
    "logEveryLevel",
    "getTinySound",
    "backgroundJob",
    "whoami",
)
REFERENCE_ARGUMENTS = {
    "echo": {"message"},
    "add": {"a", "b"},
    "longRunningOperation": {"duration", "steps"},
    "sampleLLM": {"prompt", "maxTokens"},
    "annotatedMessage": {"messageType", "includeImage"},
    "getResourceReference": {"resourceId"},
}


async def test_every_tool_is_listed_under_its_name(
    connect: Callable[..., Client],
) -> None:
    async with connect() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert sorted(names) == sorted([*REFERENCE_TOOLS, *FURTHER_TOOLS])


async def test_tools_take_the_arguments_that_the_reference_server_gave_them(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for name, arguments in REFERENCE_ARGUMENTS.items():
        assert set(tools[name].input_schema["properties"]) == arguments


async def test_every_tool_describes_itself_and_each_of_its_arguments(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        assert tool.title, tool.name
        assert tool.description, tool.name
        assert "\n" not in tool.description, tool.name
        assert tool.annotations is not None, tool.name
        assert tool.annotations.read_only_hint is True, tool.name
        assert tool.annotations.open_world_hint is not None, tool.name
        assert all(argument.get("description") for argument in tool.input_schema["properties"].values()), tool.name


async def test_the_tool_that_returns_a_picture_has_the_picture_as_its_icon(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        shown = next(block for block in (await client.call_tool("getTinyImage", {})).content if block.type == "image")
    (icon,) = tools["getTinyImage"].icons or []
    assert (icon.src, icon.sizes) == (f"data:image/png;base64,{shown.data}", ["64x64"])


async def test_the_server_says_how_to_begin(server: MCPServer[Any]) -> None:
    assert server.instructions is not None
    assert "whoami" in server.instructions


def test_resources_come_in_pages_of_ten() -> None:
    assert plugin({}).page_sizes == {"resources": 10}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"log_messages": 0}, "log_messages"),
        ({"resource_updates": "often"}, "resource_updates"),
        ({"stderr": 3}, "stderr"),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_name_of_the_value(config: dict[str, object], named: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"plugin 'everything': {named} (must be|is not known).*known: resource_updates"
    ):
        plugin(config)


def test_importing_the_package_leaves_logging_alone() -> None:
    script = "import logging, switchboard.everything; print(logging.getLogger().handlers, logging.getLogger().level)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.split() == ["[]", str(logging.WARNING)]
