"""MCP authorization, "Scope Challenge Handling": a client asks for little, and for more when something needs more."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp_types import TextContent

from tools.fleet.person import Person
from tools.fleet.tokens import CALLBACK, MemoryTokenStorage, PublicClient
from tools.fleet.workers import Fleet
from tools.messages import call, modern, modern_headers


@dataclass
class Keychain(MemoryTokenStorage):
    """What the official client keeps, and the questions that it took to the browser."""

    asked: list[str] = field(default_factory=list)
    back: dict[str, str] = field(default_factory=dict)

    async def open(self, url: str) -> None:
        self.asked.append(dict(parse_qsl(urlsplit(url).query))["scope"])
        async with Person() as person:
            self.back = dict(parse_qsl(urlsplit(await person.sign_in(url)).query))

    async def code(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=self.back["code"], state=self.back["state"], iss=self.back["iss"])


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_steps_up_when_a_tool_needs_more(fleet: Fleet, mode: str) -> None:
    """AUTH row 3, through both workers in turn; a session goes on with the new token."""
    kept = Keychain()
    metadata = OAuthClientMetadata(redirect_uris=[CALLBACK], client_name="step up", token_endpoint_auth_method="none")
    auth = OAuthClientProvider(fleet.url, metadata, kept, kept.open, kept.code)
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False, timeout=60) as http,
        Client(streamable_http_client(fleet.url, http_client=http), mode=mode) as client,
    ):
        first = (await client.call_tool("whoami")).structured_content
        echoed = (await client.call_tool("echo", {"message": "more"})).content[0]
        await client.call_tool("add", {"a": 1, "b": 2})
        last = (await client.call_tool("whoami")).structured_content

    assert [sorted(scopes.split()) for scopes in kept.asked] == [
        ["mcp"],
        ["echo:use", "mcp", "mcp:tools"],
        ["echo:use", "mcp", "mcp:tools", "numbers"],
    ]
    assert first is not None
    assert last is not None
    assert isinstance(echoed, TextContent)
    assert "more" in echoed.text
    assert first["scopes"] == ["mcp"]
    assert last["scopes"] == ["echo:use", "mcp", "mcp:tools", "numbers"]
    assert (first["subject"], first["client"]) == (last["subject"], last["client"])


async def test_the_challenge_names_all_that_is_needed_and_not_only_what_is_missing(fleet: Fleet) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        client = await PublicClient.registered(http, fleet.base, fleet.url)
        narrow = await client.sign_in(scope="mcp:prompts numbers")
        message = modern(call("add", {"a": 1, "b": 2}))
        headers = {**modern_headers(message), "Authorization": f"Bearer {narrow['access_token']}"}
        refused = await http.post(fleet.url, json=message, headers=headers)

    challenge = refused.headers["www-authenticate"]
    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    assert refused.status_code == 403
    assert said["error"] == "insufficient_scope"
    assert said["scope"].split() == ["echo:use", "mcp:tools", "numbers"]
    assert said["resource_metadata"] == f"{fleet.base}/.well-known/oauth-protected-resource/mcp"


async def test_scopes_of_tools_are_granted_by_name_only(fleet: Fleet) -> None:
    """`mcp` stands for all that is ours, not for what a tool asks besides."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        client = await PublicClient.registered(http, fleet.base, fleet.url)
        assert (await client.sign_in())["scope"] == "mcp"
        assert (await client.sign_in(scope="mcp numbers"))["scope"] == "mcp numbers"
