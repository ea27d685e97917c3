"""What the gateway's own requests to a backend carry, on every way there; and what never goes there."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, TextContent, TextResourceContents
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from switchboard.backends import Backend, Http, Patience, Sse, Stdio
from switchboard.errors import ConfigurationError, CredentialUnavailable
from switchboard.identity import Caller
from switchboard.outbound_auth.credentials import GATEWAY
from switchboard.outbound_auth.strategies.fixed import FixedCredential
from tests.backends.conftest import Fleet, Open, Serve
from tests.backends.servers.echo import Echo
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
QUICK = Patience(start=5, call=5, stop=0.5)
ERAS = ("handshake", "modern")
KEY = FixedCredential({"x-api-key": "hunter2"})

FOREIGN = {
    "authorization": "Bearer the-clients-own",
    "cookie": "id=the-clients-own",
    "x-forwarded-user": "the-clients-own",
    "x-api-key": "the-clients-own",
    "x-remote-user": "the-clients-own",
}


@asynccontextmanager
async def client_of(url: str, era: str, headers: Mapping[str, str] = FOREIGN) -> AsyncIterator[Client]:
    """A client that sends headers of its own with every request."""
    async with httpx2.AsyncClient(headers=dict(headers), timeout=120) as http:
        streams = streamable_http_client(url, http_client=http)
        async with Client(streams, mode="legacy" if era == "handshake" else "auto") as client:
            yield client


async def used(client: Client) -> list[dict[str, str]]:
    """The headers that every kind of request had at the backend, as its answers have them."""
    await client.list_tools()
    prompt = await client.get_prompt("echo__said", {"of": "x"})
    assert isinstance(prompt.messages[0].content, TextContent)
    [content] = (await client.read_resource("echo://headers")).contents
    assert isinstance(content, TextResourceContents)
    reference = PromptReference(type="ref/prompt", name="echo__said")
    await client.complete(reference, {"name": "of", "value": ""})
    called = [text(await client.call_tool("echo__headers", arguments)) for arguments in ({}, {"tag": "x"})]
    return [json.loads(each) for each in (*called, prompt.messages[0].content.text, content.text)]


async def offered(client: Client) -> None:
    """Wait until the gateway knows all that the backend offers."""
    async with asyncio.timeout(120):
        while not any(each.name == "echo__said" for each in (await client.list_prompts()).prompts):
            await asyncio.sleep(0.01)


async def until(settled: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not settled():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("backend_era", ERAS)
async def test_every_request_has_the_gateways_credential_and_nothing_of_the_client(
    era: str, backend_era: Any, serve: Serve, fleet: Fleet
) -> None:
    echo = Echo()
    backend = Backend("echo", Http((await serve(echo.app()),), era=backend_era), patience=QUICK, credentials=KEY)
    [url] = await fleet([backend])
    async with client_of(url, era) as client:
        await offered(client)
        answered = await used(client)
    assert {each["x-api-key"] for each in answered} == {"hunter2"}
    assert {headers["x-api-key"] for headers in echo.requests()} == {"hunter2"}
    assert "the-clients-own" not in json.dumps([each.headers for each in echo.seen])
    methods = {each.rpc for each in echo.seen}
    assert {"tools/list", "resources/list", "prompts/list", "tools/call", "completion/complete"} <= methods
    if backend_era == "handshake":
        assert echo.requests("GET")
        await until(lambda: echo.requests("DELETE")) if era == "handshake" else None
    else:
        await until(lambda: echo.requests("subscriptions/listen"))


async def test_the_streams_and_posts_of_the_older_transport_have_it_too(serve: Serve, fleet: Fleet) -> None:
    echo = Echo(transport="sse")
    address = (await serve(echo.app())).replace("/mcp", "/sse")
    [url] = await fleet([Backend("echo", Sse(address), patience=QUICK, credentials=KEY)])
    async with client_of(url, "handshake") as client:
        await offered(client)
        await used(client)
    assert {headers["x-api-key"] for headers in echo.requests()} == {"hunter2"}
    assert {each.http for each in echo.seen} == {"GET", "POST"}
    assert "the-clients-own" not in json.dumps([each.headers for each in echo.seen])


CHILD = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    results = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "own", "version": "1"}},
        "tools/list": {"tools": [{"name": "environment", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": json.dumps(dict(os.environ))}]},
    }
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": results.get(message["method"], {})}), flush=True)
"""


async def test_a_child_gets_it_in_its_environment(open_gateway: Open) -> None:
    command = Stdio(sys.executable, ("-S", "-c", CHILD), {"PLAIN": "1"}, era="handshake")
    credential = FixedCredential({}, {"TOKEN_VARIABLE": "hunter2"})
    backend = Backend("own", command, patience=QUICK, credentials=credential)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        environment = json.loads(text(await client.call_tool("own__environment")))
    assert (environment["TOKEN_VARIABLE"], environment["PLAIN"]) == ("hunter2", "1")


async def test_it_goes_nowhere_but_to_the_configured_addresses(serve: Serve, open_gateway: Open) -> None:
    elsewhere, echo = Echo(), Echo()
    far = await serve(elsewhere.app())
    near = Echo(guard=lambda headers: RedirectResponse(far, 307) if "mcp-session-id" not in headers else None)
    backend = Backend("echo", Http((await serve(near.app()),), era="handshake"), patience=QUICK, credentials=KEY)
    async with open_gateway(backend) as opened:
        await opened.until(lambda: opened.providers["echo"].health.condition == "failing")
    assert near.seen
    assert not any("x-api-key" in headers for headers in elsewhere.requests())
    assert not echo.seen


@dataclass(frozen=True)
class Renewed:
    """A credential that is renewed when it is refused."""

    values: list[str] = field(repr=False)
    refused: list[tuple[str, int, str]] = field(default_factory=list, repr=False)
    per_person: bool = False

    async def prepare(self, caller: Caller) -> None: ...

    async def headers(self, person: str) -> Mapping[str, str]:
        assert person == GATEWAY
        return {"authorization": self.values[0]}

    async def environment(self, person: str) -> Mapping[str, str]:
        return {}

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        self.refused.append((sent["authorization"], status, www_authenticate))
        if sent["authorization"] == self.values[0] and len(self.values) > 1:
            self.values.pop(0)
        return sent["authorization"] != self.values[0]


@pytest.mark.parametrize("backend_era", ERAS)
@pytest.mark.parametrize("era", ERAS)
async def test_a_request_that_was_refused_is_sent_once_more_with_a_newer_credential(
    era: str, backend_era: Any, serve: Serve, fleet: Fleet
) -> None:
    good = {"first"}

    def guard(headers: Mapping[str, str]) -> Response | None:
        if headers.get("authorization") in good:
            return None
        return PlainTextResponse("no", 401, {"www-authenticate": 'Bearer error="invalid_token"'})

    echo, credential = Echo(guard), Renewed(["first", "second"])
    backend = Backend("echo", Http((await serve(echo.app()),), era=backend_era), patience=QUICK, credentials=credential)
    [url] = await fleet([backend])
    async with client_of(url, era) as client:
        await offered(client)
        assert json.loads(text(await client.call_tool("echo__headers", {"tag": "1"})))["authorization"] == "first"
        good.clear()
        good.add("second")
        assert json.loads(text(await client.call_tool("echo__headers", {"tag": "2"})))["authorization"] == "second"
        sent = [headers["authorization"] for headers in echo.requests("tools/call")]
        assert sent in (["first", "first", "second"], ["first", "second"])  # the latter where a call has its connection
        assert echo.calls == ["1", "2"]
        assert credential.refused[0] == ("first", 401, 'Bearer error="invalid_token"')
        good.clear()
        with pytest.raises(MCPError, match="Backend 'echo': HTTP 401 no"):
            await client.call_tool("echo__headers", {"tag": "3"})
        assert [headers["authorization"] for headers in echo.requests("tools/call")][len(sent) :] in (["second"], [])


@dataclass(frozen=True)
class Missing(Renewed):
    """There is none."""

    async def headers(self, person: str) -> Mapping[str, str]:
        raise CredentialUnavailable("the token endpoint does not answer", retry=True)


async def test_a_credential_that_cannot_be_had_is_the_reason_that_a_client_hears(
    serve: Serve, open_gateway: Open
) -> None:
    echo = Echo()
    backend = Backend("echo", Http((await serve(echo.app()),)), patience=QUICK, credentials=Missing([]))
    async with open_gateway(backend) as opened:
        await opened.until(lambda: opened.providers["echo"].health.condition == "failing")
        assert "the token endpoint does not answer" in opened.providers["echo"].health.reason
    assert not echo.seen


def test_a_connection_that_everybody_shares_cannot_have_a_credential_for_each_person() -> None:
    with pytest.raises(ConfigurationError, match=r"mcpServers.x.scope: 'shared' would have people act"):
        Backend("x", Http(("https://x",)), "shared", credentials=Renewed([], per_person=True))
