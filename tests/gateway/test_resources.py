from __future__ import annotations

import logging
from typing import Any

import pytest
from mcp import Client
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import INVALID_PARAMS, BlobResourceContents, TextResourceContents

from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])
NOT_FOUND = pytest.mark.parametrize(("era", "code"), [("legacy", -32002), ("auto", INVALID_PARAMS)])


def library(name: str = "library", **options: Any) -> MCPServer[Any]:
    server = MCPServer(name, **options)

    @server.resource("book://index", mime_type="text/plain")
    def index() -> str:
        return f"the index of {name}"

    @server.resource("book://cover", mime_type="image/png")
    def cover() -> bytes:
        return b"\x89PNG"

    @server.resource("book://{title}/text")
    def text(title: str) -> str:
        if title == "lost":
            raise ResourceNotFoundError("This book is lost")
        if title == "stolen":
            raise MCPError(-32002, "This book is stolen", {"shelf": 7})
        if title == "burning":
            raise RuntimeError("password=hunter2")
        return f"{title} in {name}"

    return server


@ERAS
async def test_text_blobs_and_templates_are_read_by_uri(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((library(), "always")) as opened, Client(opened.server, mode=era) as client:
        listed = [resource.uri for resource in (await client.list_resources()).resources]
        templates = [t.uri_template for t in (await client.list_resource_templates()).resource_templates]
        index = (await client.read_resource("book://index")).contents[0]
        cover = (await client.read_resource("book://cover")).contents[0]
        text = (await client.read_resource("book://emma/text")).contents[0]
    assert listed == ["book://index", "book://cover"]
    assert templates == ["book://{title}/text"]
    assert isinstance(index, TextResourceContents)
    assert (index.uri, index.text, index.mime_type) == ("book://index", "the index of library", "text/plain")
    assert isinstance(cover, BlobResourceContents)
    assert cover.blob == "iVBORw=="
    assert isinstance(text, TextResourceContents)
    assert text.text == "emma in library"


@NOT_FOUND
async def test_an_unknown_resource_is_an_error_as_the_protocol_version_has_it(
    open_gateway: OpenGateway, era: str, code: int
) -> None:
    async with open_gateway((library(), "always")) as opened, Client(opened.server, mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("book://nowhere")
    assert (caught.value.code, caught.value.message) == (code, "Resource not found")
    assert caught.value.data == {"uri": "book://nowhere"}


@NOT_FOUND
@pytest.mark.parametrize("fate", ["lost", "stolen"])
async def test_a_template_that_finds_nothing_says_so_in_its_own_words(
    open_gateway: OpenGateway, era: str, code: int, fate: str
) -> None:
    async with open_gateway((library(), "always")) as opened, Client(opened.server, mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(f"book://{fate}/text")
    assert (caught.value.code, caught.value.message) == (code, f"This book is {fate}")
    assert caught.value.data == {"uri": f"book://{fate}/text"}


@ERAS
async def test_a_crash_while_reading_names_the_uri_and_leaks_nothing(
    open_gateway: OpenGateway, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_gateway((library(), "always")) as opened, Client(opened.server, mode=era) as client:
        with caplog.at_level(logging.ERROR), pytest.raises(MCPError) as caught:
            await client.read_resource("book://burning/text")
    assert "book://burning/text" in caught.value.message
    assert "hunter2" not in str(caught.value.error)
    assert "hunter2" in caplog.text


@ERAS
async def test_of_two_providers_with_one_uri_the_first_in_order_is_read(open_gateway: OpenGateway, era: str) -> None:
    mounted = (library("east"), "always"), (library("west"), "always")
    async with open_gateway(*mounted) as opened, Client(opened.server, mode=era) as client:
        listed = [resource.uri for resource in (await client.list_resources()).resources]
        index = (await client.read_resource("book://index")).contents[0]
        text = (await client.read_resource("book://emma/text")).contents[0]
    assert listed == ["book://index", "book://cover"]
    assert isinstance(index, TextResourceContents)
    assert index.text == "the index of east"
    assert isinstance(text, TextResourceContents)
    assert text.text == "emma in east"


async def test_what_is_read_is_private_and_stale_unless_its_provider_says_otherwise(open_gateway: OpenGateway) -> None:
    shared = MCPServer("shared", cache_hints={"resources/read": CacheHint(9000, "public")})
    shared.resource("shared://note", name="note")(lambda: "for all")
    async with open_gateway((library(), "never"), (shared, "never")) as opened, Client(opened.server) as client:
        own = await client.read_resource("book://index")
        public = await client.read_resource("shared://note")
    assert (own.ttl_ms, own.cache_scope) == (0, "private")
    assert (public.ttl_ms, public.cache_scope) == (9000, "public")


async def test_lists_carry_the_merged_hints_of_those_who_contribute(open_gateway: OpenGateway) -> None:
    quick = MCPServer("quick", cache_hints={"tools/list": CacheHint(1000, "private")})
    slow = MCPServer("slow", cache_hints={"tools/list": CacheHint(60_000, "public")})
    for server in (quick, slow):
        server.add_tool(lambda: "x", name="x", description="X.")
    slow.resource("slow://x", name="x")(lambda: "x")
    async with open_gateway((slow, "always"), (quick, "always")) as opened, Client(opened.server) as client:
        tools = await client.list_tools()
        resources = await client.list_resources()
    assert (tools.ttl_ms, tools.cache_scope) == (1000, "private")
    assert (resources.ttl_ms, resources.cache_scope) == (0, "public")


async def test_a_resource_update_published_by_a_handler_reaches_the_bus(open_gateway: OpenGateway) -> None:
    server = library()

    @server.tool()
    async def edit(ctx: Context[Any, Any]) -> str:
        """Change the index."""
        await ctx.notify_resource_updated("book://index")
        return "edited"

    async with (
        open_gateway((server, "never")) as opened,
        Client(opened.server) as client,
        client.listen(resource_subscriptions=["book://index"]) as events,
    ):
        await client.call_tool("edit", {})
        event = await anext(aiter(events))
    assert event == ResourceUpdated("book://index")
