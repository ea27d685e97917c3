"""What policy denies is denied at every door: reading, subscribing, listening, completing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.subscriptions import listen
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import EmptyResult, ResourceTemplateReference, SubscribeRequest, SubscribeRequestParams

from switchboard.catalog import shapes
from switchboard.config import Exposure, Preset
from switchboard.gateway import Gateway, LiveCatalog, SelectedCatalog, build_gateway, readable
from switchboard.identity import Caller, Principal, serving
from switchboard.plugins import Plugin, PluginProvider
from tests.gateway.conftest import LonelyHost

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])
SECRET, PUBLIC, RENAMED = "book://secret/text", "book://public/text", "book://%73ecret/text"


def library() -> MCPServer[Any]:
    server = MCPServer("library")

    @server.resource("book://{title}/text")
    def text(title: str) -> str:
        return f"the text of {title}"

    return server


async def subscribe(client: Client, uri: str) -> None:
    await client.session.send_request(SubscribeRequest(params=SubscribeRequestParams(uri=uri)), EmptyResult)


@asynccontextmanager
async def opened(
    host: LonelyHost, subscribed: list[str], **exposure: Any
) -> AsyncIterator[tuple[Gateway, SelectedCatalog]]:
    """A gateway that keeps what is subscribed to in a list."""

    async def kept(_sid: str, uri: str) -> None:
        subscribed.append(uri)

    provider = PluginProvider(Plugin("library", "1", library()))
    shown = shapes({"library": Exposure.model_validate(exposure)})
    live = LiveCatalog([provider], bus=host.bus, shapes=shown)
    source = SelectedCatalog(live, {"open": Preset(deny=("resources:book://secret/*",))})
    server = build_gateway(source, bus=host.bus, subscribe=kept)
    async with live.running(host):
        yield server, source


@ERAS
@pytest.mark.parametrize(("exposure", "query"), [({"deny": ["resources:book://secret/*"]}, b""), ({}, b"preset=open")])
async def test_a_denied_resource_is_unknown_to_every_request_that_names_it(
    host: LonelyHost, era: str, exposure: dict[str, Any], query: bytes
) -> None:
    subscribed: list[str] = []
    async with opened(host, subscribed, **exposure) as (server, source):
        with source.serving(query), serving(Caller(Principal("i", "s", "c", frozenset({"mcp"})), "a session")):
            assert await readable(source, [SECRET, PUBLIC, RENAMED]) == [PUBLIC]
            async with Client(server, mode=era) as client:
                assert "public" in str(await client.read_resource(PUBLIC))
                for uri in (SECRET, RENAMED):
                    with pytest.raises(MCPError, match="Resource not found"):
                        await client.read_resource(uri)
                    with pytest.raises(MCPError, match="Unknown reference"):
                        await client.complete(
                            ResourceTemplateReference(type="ref/resource", uri=uri), {"name": "x", "value": ""}
                        )
                    if era == "legacy":
                        with pytest.raises(MCPError, match="Resource not found"):
                            await subscribe(client, uri)
                if era == "legacy":
                    await subscribe(client, PUBLIC)
                    assert subscribed == [PUBLIC]


async def test_a_listen_stream_leaves_out_what_is_denied(host: LonelyHost) -> None:
    async with (
        opened(host, [], deny=["resources:book://secret/*"]) as (server, _),
        Client(server) as client,
        listen(client.session, resource_subscriptions=[SECRET, PUBLIC]) as events,
    ):
        assert events.honored.resource_subscriptions == [PUBLIC]


async def test_a_resource_behind_a_template_needs_the_scopes_of_its_rule(host: LonelyHost) -> None:
    subscribed: list[str] = []
    rule = {"resources:book://secret/*": {"scopes": ["books:secret"]}}
    async with opened(host, subscribed, tools=rule) as (server, source):
        assert source.entry_scopes("resources/read", {"uri": RENAMED}) == {"books:secret"}
        assert source.entry_scopes("resources/subscribe", {"uri": SECRET}) == {"books:secret"}
        assert source.entry_scopes("resources/read", {"uri": PUBLIC}) == frozenset()
        some, every = frozenset({"mcp"}), frozenset({"mcp", "books:secret"})
        with serving(Caller(Principal("i", "s", "c", some), "a session")):
            assert await readable(source, [SECRET, PUBLIC]) == [PUBLIC]
            async with Client(server, mode="legacy") as client:
                with pytest.raises(MCPError, match="needs a token with: books:secret"):
                    await client.read_resource(SECRET)
                with pytest.raises(MCPError, match="needs a token with: books:secret"):
                    await subscribe(client, SECRET)
        with serving(Caller(Principal("i", "s", "c", every), "a session")):
            async with Client(server, mode="legacy") as client:
                assert "secret" in str(await client.read_resource(SECRET))
        assert subscribed == []


async def test_policy_that_changes_no_list_counts_at_once(host: LonelyHost) -> None:
    async with opened(host, []) as (server, source), Client(server) as client:
        assert "secret" in str(await client.read_resource(SECRET))
        denied = shapes({"library": Exposure.model_validate({"deny": ["resources:book://secret/*"]})})
        await source._live.replace(source.providers, shapes=denied)
        with pytest.raises(MCPError, match="Resource not found"):
            await client.read_resource(SECRET)
