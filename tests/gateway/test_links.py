"""A link that a provider handed out is read through that provider, as far as policy has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, EmbeddedResource, ReadResourceResult, ResourceLink, TextResourceContents

from switchboard.catalog import shapes
from switchboard.config import Exposure
from switchboard.gateway import LiveCatalog, build_gateway
from switchboard.identity import Principal
from switchboard.identity.principal import Caller, serving
from switchboard.plugins import Plugin, PluginProvider
from switchboard.sessions.links import MOST_LINKS, GivenLinks
from switchboard.state import State, open_state
from tests.gateway.conftest import LonelyHost

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


class Links:
    """Of one principal, in this process. Satisfies `gateway.links.Links`."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self.asked: list[str] = []

    async def note(self, provider: str, uris: Sequence[str]) -> None:
        self.given.update(dict.fromkeys(uris, provider))

    async def giver(self, uri: str) -> tuple[str, str] | None:
        self.asked.append(uri)
        return (self.given[uri], uri) if uri in self.given else None


def giving(name: str, *blocks: Any, template: str = "") -> MCPServer[Any]:
    """A server whose tool `give` answers with these, and which reads what only it knows."""
    server: MCPServer[Any] = MCPServer(name)

    @server.tool(structured_output=False)
    def give() -> CallToolResult:
        return CallToolResult(content=list(blocks))

    if template:

        @server.resource(template)
        def any_of_them(id: str) -> str:
            return f"{id} at {name}"

    return server


class Reading(PluginProvider):
    """Reads any URI, listed or not, and says who it is."""

    async def handle(self, method: str, ctx: Any, params: Any) -> Any:
        if method != "resources/read":
            return await super().handle(method, ctx, params)
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, text=self.name)])


@asynccontextmanager
async def gateway(
    host: LonelyHost, *servers: MCPServer[Any], links: Links | None = None, exposures: dict[str, Any] | None = None
) -> AsyncIterator[Any]:
    providers = [Reading(Plugin(server.name, "1", server)) for server in servers]
    policy = shapes({name: Exposure.model_validate(each) for name, each in (exposures or {}).items()})
    catalog = LiveCatalog(providers, bus=host.bus, shapes=policy, links=links)
    async with catalog.running(host):
        yield build_gateway(catalog, bus=InMemorySubscriptionBus())


def link(uri: str) -> ResourceLink:
    return ResourceLink(type="resource_link", uri=uri, name="x")


async def read(client: Client, uri: str) -> str:
    contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, TextResourceContents)
    return contents.text


@ERAS
async def test_a_link_and_an_embedded_resource_are_read_through_whoever_gave_them(era: str, host: LonelyHost) -> None:
    held = EmbeddedResource(type="resource", resource=TextResourceContents(uri="held://1", text="x"))
    servers = giving("other"), giving("a", link("report://1"), held)
    async with gateway(host, *servers, links=Links()) as server, Client(server, mode=era) as client:
        with pytest.raises(MCPError):
            await client.read_resource("report://1")
        await client.call_tool("a__give")
        assert [await read(client, uri) for uri in ("report://1", "held://1")] == ["a", "a"]


async def test_of_two_that_give_the_same_link_the_last_is_asked(host: LonelyHost) -> None:
    servers = [giving(name, link("same://1")) for name in "ab"]
    async with gateway(host, *servers, links=Links()) as server, Client(server) as client:
        for name in "aba":
            await client.call_tool(f"{name}__give")
            assert await read(client, "same://1") == name


async def test_a_link_beats_the_template_of_another_provider(host: LonelyHost) -> None:
    servers = giving("a", template="any://{id}"), giving("b", link("any://1"))
    async with gateway(host, *servers, links=Links()) as server, Client(server) as client:
        assert await read(client, "any://1") == "a"
        await client.call_tool("b__give")
        assert await read(client, "any://1") == "b"
        assert await read(client, "any://2") == "a"


async def test_what_a_provider_lists_or_has_a_template_for_need_not_be_remembered(host: LonelyHost) -> None:
    links = Links()
    servers = giving("a", link("any://1"), link("list://1"), template="any://{id}"), giving("b", link("list://1"))
    servers[0].resource("list://1", name="listed")(lambda: "")
    async with gateway(host, *servers, links=links) as server, Client(server) as client:
        for name in "ab":
            await client.call_tool(f"{name}__give")
        assert links.given == {}
        assert await read(client, "list://1") == "a"
        assert links.asked == []


@pytest.mark.parametrize("uri", ["secret://1", "SECRET://1", "secret://%31", "secret://x/../1"])
async def test_a_link_that_policy_denies_stays_denied(uri: str, host: LonelyHost) -> None:
    exposures = {"a": {"deny": ["resources:secret://*"]}}
    servers = giving("a", link(uri), link("public://1"))
    async with gateway(host, servers, links=Links(), exposures=exposures) as server, Client(server) as client:
        await client.call_tool("a__give")
        assert await read(client, "public://1") == "a"
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource(uri)


async def test_a_page_that_a_tool_is_shown_with_is_read_through_the_tools_provider(host: LonelyHost) -> None:
    for meta in ({"ui": {"resourceUri": "ui://w/1.html"}}, {"ui/resourceUri": "ui://w/1.html"}):
        server: MCPServer[Any] = MCPServer("a")

        def show() -> str:
            return ""

        server.add_tool(show, meta=meta)
        async with gateway(host, giving("b"), server) as opened, Client(opened) as client:
            assert await read(client, "ui://w/1.html") == "a"
            with pytest.raises(MCPError):
                await client.read_resource("ui://w/2.html")


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    url = None if request.param == "memory" else request.getfixturevalue("redis_url")
    async with open_state(url) as opened:
        yield opened


def person(name: str) -> Any:
    return serving(Caller(Principal("https://issuer", name, "client")))


async def test_links_are_a_principals_own_and_known_to_every_worker(state: State) -> None:
    one, other = GivenLinks(state), GivenLinks(state)
    with person("alice"):
        await one.note("a", ["File:///my docs/a", "x://1"])
        assert await other.giver("file:///my%20docs/a") == ("a", "File:///my docs/a")
        await other.note("b", ["x://1"])
        assert await one.giver("x://1") == ("b", "x://1")
    with person("bob"):
        assert await one.giver("x://1") is None


async def test_the_latest_links_are_kept_up_to_a_bound_and_long_ones_are_not(state: State) -> None:
    links = GivenLinks(state)
    with person("alice"):
        for start in range(0, MOST_LINKS + 10, 10):
            await links.note("a", [f"x://{number}" for number in range(start, start + 10)])
        await links.note("a", ["x://5", "x://" + "y" * 3_000])
        assert await links.giver("x://4") is None
        assert await links.giver("x://5") == ("a", "x://5")
        assert await links.giver(f"x://{MOST_LINKS + 9}") == ("a", f"x://{MOST_LINKS + 9}")
        assert await links.giver("x://" + "y" * 3_000) is None
        (key,) = [key async for key in state.redis.scan_iter(match="*links:*order")]
        assert await state.redis.zcard(key) == MOST_LINKS
        assert 0 < await state.redis.pttl(key) <= 24 * 3_600_000
