"""What the fixtures offer, as the suite looks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import PromptReference

from switchboard.config import PluginSection
from switchboard.errors import ConfigurationError
from switchboard.plugins import PluginLoader, PluginSources
from tools.conformance.fixtures import plugin
from tools.conformance.fixtures.schemas import CONTACT
from tools.fleet.workers import installed

Connect = Callable[..., Client]


def test_the_fixtures_are_found_only_by_a_fleet_that_they_are_installed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="no such plugin is installed"):
        PluginSources().find(["conformance"])
    monkeypatch.syspath_prepend(installed(tmp_path, "conformance", "tools.conformance.fixtures:plugin")["PYTHONPATH"])
    found = PluginSources().find(["conformance"])["conformance"]
    assert PluginLoader.declared(found, PluginSection(), found.load()).name == "conformance"


def test_a_configuration_is_refused_because_there_is_nothing_to_configure() -> None:
    with pytest.raises(ConfigurationError, match="takes no configuration, not speed"):
        plugin({"speed": 3})


async def test_every_tool_and_prompt_is_described(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        tools = (await client.list_tools()).tools
        prompts = (await client.list_prompts()).prompts
    assert tools[0].name == "test_simple_text"
    assert all(tool.description for tool in tools)
    assert all(prompt.description for prompt in prompts)


async def test_the_json_schema_tool_is_listed_with_every_keyword_untouched(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["json_schema_2020_12_tool"].input_schema == CONTACT


async def test_the_mirrored_parameter_is_marked_in_its_schema(connect: Connect) -> None:
    async with connect("auto") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["test_x_mcp_header"].input_schema["properties"]["region"]["x-mcp-header"] == "Region"


async def test_resources_are_read_with_their_types(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
        found = {uri: (await client.read_resource(uri)).contents[0] for uri in listed}
        templated = (await client.read_resource("test://template/123/data")).contents[0]
    assert listed == ["test://static-text", "test://static-binary", "test://watched-resource"]
    assert [contents.mime_type for contents in found.values()] == ["text/plain", "image/png", "text/plain"]
    assert "123" in templated.model_dump()["text"]


async def test_prompts_show_their_arguments_and_their_content(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        said = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        pictured = await client.get_prompt("test_prompt_with_image")
        embedded = await client.get_prompt("test_prompt_with_embedded_resource", {"resourceUri": "test://mine"})
    assert "arg1='one', arg2='two'" in str(said.messages[0].content)
    assert pictured.messages[0].content.type == "image"
    assert "test://mine" in str(embedded.messages[0].content)


async def test_only_fitting_values_complete_an_argument(server: MCPServer[Any]) -> None:
    async with Client(server, mode="auto") as client:
        reference = PromptReference(name="test_prompt_with_arguments")
        offered = await client.complete(reference, {"name": "arg1", "value": "test"})
        elsewhere = await client.complete(PromptReference(name="test_simple_prompt"), {"name": "arg1", "value": ""})
    assert offered.completion.values == ["test-one", "test-two"]
    assert elsewhere.completion.values == []
