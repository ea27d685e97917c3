from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent
from pydantic import Field, TypeAdapter, ValidationError

from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


def calculator() -> MCPServer[Any]:
    server = MCPServer("calc")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def explode() -> str:
        """Fail in a way nobody meant."""
        raise RuntimeError("password=hunter2")

    @server.tool()
    def refuse() -> str:
        """Fail on purpose."""
        raise ToolError("not today")

    return server


def clerk() -> MCPServer[Any]:
    """Tools with arguments of many kinds, and with errors of a library."""
    server = MCPServer("clerk")

    @server.tool()
    def pick(size: Annotated[str, Field(min_length=3)], colour: Literal["red", "blue"], many: list[int]) -> str:
        """Pick something."""
        return size

    @server.tool()
    def relay() -> str:
        """Say what a validator said."""
        try:
            TypeAdapter(int).validate_python("x")
        except ValidationError as error:
            raise ToolError(str(error)) from error
        return ""

    @server.tool()
    def rethrow() -> str:
        """Say it as a protocol error."""
        try:
            TypeAdapter(int).validate_python("x")
        except ValidationError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from error
        return ""

    return server


def text_of(result: CallToolResult) -> str:
    content = result.content[0]
    assert isinstance(content, TextContent)
    return content.text


@ERAS
async def test_a_tool_is_listed_and_called_under_its_prefixed_name(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((calculator(), "always")) as opened, Client(opened.server, mode=era) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("calc__add", {"a": 1, "b": 2})
    assert names == ["calc__add", "calc__explode", "calc__refuse"]
    assert not result.is_error
    assert result.structured_content == {"result": 3}


@ERAS
async def test_a_provider_without_prefix_keeps_its_own_names(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((calculator(), "never")) as opened, Client(opened.server, mode=era) as client:
        assert not (await client.call_tool("add", {"a": 1, "b": 2})).is_error


@ERAS
async def test_an_unknown_tool_is_a_protocol_error_that_names_it(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((calculator(), "always")) as opened, Client(opened.server, mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("add", {"a": 1, "b": 2})
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.message == "Unknown tool: add"


@ERAS
async def test_invalid_arguments_are_a_result_that_names_each_and_repeats_no_value(
    open_gateway: OpenGateway, era: str
) -> None:
    async with open_gateway((calculator(), "always")) as opened, Client(opened.server, mode=era) as client:
        result = await client.call_tool("calc__add", {"a": "secret"})
    assert result.is_error
    said = text_of(result)
    assert said == "Invalid arguments for tool add: a must be a whole number; b is missing"


@ERAS
async def test_wrong_arguments_are_told_in_plain_words(open_gateway: OpenGateway, era: str) -> None:
    arguments = {"size": "a", "colour": "green", "many": "x"}
    async with open_gateway((clerk(), "always")) as opened, Client(opened.server, mode=era) as client:
        result = await client.call_tool("clerk__pick", arguments)
    assert text_of(result) == (
        "Invalid arguments for tool pick: size must have at least 3 characters; colour must be one of 'red', 'blue'; "
        "many must be a list"
    )


@ERAS
async def test_what_a_tool_relays_of_a_library_has_no_link_to_its_documentation(
    open_gateway: OpenGateway, era: str
) -> None:
    async with open_gateway((clerk(), "always")) as opened, Client(opened.server, mode=era) as client:
        result = await client.call_tool("clerk__relay", {})
        with pytest.raises(MCPError) as caught:
            await client.call_tool("clerk__rethrow", {})
    for said in (text_of(result), caught.value.message):
        assert "unable to parse string as an integer" in said
        assert "http" not in said


@ERAS
async def test_a_crash_in_a_tool_names_the_tool_and_leaks_nothing(
    open_gateway: OpenGateway, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_gateway((calculator(), "always")) as opened, Client(opened.server, mode=era) as client:
        with caplog.at_level(logging.ERROR):
            result = await client.call_tool("calc__explode", {})
    assert result.is_error
    assert text_of(result) == "Error executing tool explode"
    assert "hunter2" in caplog.text


@ERAS
async def test_a_failure_that_a_tool_means_to_tell_reaches_the_client(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((calculator(), "always")) as opened, Client(opened.server, mode=era) as client:
        assert text_of(await client.call_tool("calc__refuse", {})) == "Error executing tool refuse: not today"


@ERAS
async def test_a_tool_added_at_run_time_can_be_called_before_anybody_lists_again(
    open_gateway: OpenGateway, era: str
) -> None:
    server = calculator()

    @server.tool()
    async def grow(ctx: Context[Any, Any]) -> str:
        """Offer one more tool."""
        server.add_tool(lambda: "grown", name="grown", description="New.")
        await ctx.notify_tools_changed()
        return "ok"

    async with open_gateway((server, "always")) as opened, Client(opened.server, mode=era) as client:
        before = opened.catalog.current()
        await client.call_tool("calc__grow", {})
        result = await client.call_tool("calc__grown", {})
        listed = [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]
    assert text_of(result) == "grown"
    assert "calc__grown" in listed
    assert before.tools.find("calc__grown") is None
    assert opened.catalog.current().digest != before.digest


async def test_a_change_announced_by_another_worker_is_seen_by_the_next_lookup(open_gateway: OpenGateway) -> None:
    server = calculator()
    async with open_gateway((server, "never")) as opened, Client(opened.server) as client:
        server.add_tool(lambda: "late", name="late", description="New.")
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("late", {})
        await opened.host.bus.publish(ToolsListChanged())
        assert text_of(await client.call_tool("late", {})) == "late"


@ERAS
async def test_two_providers_with_one_tool_name_are_told_apart_by_prefix(open_gateway: OpenGateway, era: str) -> None:
    one, two = MCPServer("one"), MCPServer("two")
    one.add_tool(lambda: "from one", name="who", description="Who.")
    two.add_tool(lambda: "from two", name="who", description="Who.")
    async with open_gateway((one, "conflict"), (two, "conflict")) as opened, Client(opened.server, mode=era) as client:
        assert text_of(await client.call_tool("one__who", {})) == "from one"
        assert text_of(await client.call_tool("two__who", {})) == "from two"


async def test_the_input_schema_is_found_by_the_exposed_name_without_listing(open_gateway: OpenGateway) -> None:
    async with open_gateway((calculator(), "always")) as opened:
        look_up = opened.server.get_tool_input_schema
        assert look_up is not None
        schema = look_up("calc__add")
        assert schema is not None
        assert set(schema["properties"]) == {"a", "b"}
        assert look_up("add") is None


@ERAS
async def test_a_handler_sees_the_lifespan_context_of_its_own_plugin(open_gateway: OpenGateway, era: str) -> None:
    @asynccontextmanager
    async def lifespan(_server: MCPServer[dict[str, str]]) -> AsyncIterator[dict[str, str]]:
        yield {"whose": "mine"}

    server = MCPServer("own", lifespan=lifespan)

    @server.tool()
    def whose(ctx: Context[dict[str, str], Any]) -> str:
        """Tell."""
        return ctx.request_context.lifespan_context["whose"]

    async with open_gateway((server, "never")) as opened, Client(opened.server, mode=era) as client:
        assert text_of(await client.call_tool("whose", {})) == "mine"
