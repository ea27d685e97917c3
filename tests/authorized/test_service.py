"""`service` as an OAuth client: one token of the gateway's own, for everybody."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey
from mcp.shared.exceptions import MCPError

from switchboard.backends import BackendProvider
from tests.authorized.conftest import Open, listed
from tests.backends.servers.echo import Echo
from tests.outbound_auth.provider import Client, Provider
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.mark.parametrize("proof", ["secret", "key"])
async def test_calls_have_a_token_that_the_gateway_got_as_a_client_for_this_server_alone(
    proof: str, opened: Open, provider: Provider
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "mine"})
    provider.clients["signer"] = Client(keys=(key.as_dict(private=False),))
    ways = {
        "secret": {"client_id": "gateway", "client_secret": "secret"},
        "key": {"client_id": "signer", "private_key": json.dumps(key.as_dict(private=True))},
    }
    gateway = await opened({"strategy": "service", "issuer": provider.url, "scopes": ["read"], **ways[proof]})
    async with gateway.client("alice", "modern") as alice, gateway.client("bob", "handshake") as bob:
        await listed(alice, "echo__headers")
        await listed(bob, "echo__headers")
        for client in (alice, bob):
            sent = json.loads(text(await client.call_tool("echo__headers", {})))["authorization"]
            assert provider.person(sent.removeprefix("Bearer ")) == ways[proof]["client_id"]
    [asked, *others] = [each for each in provider.of("token") if each.form["grant_type"] == "client_credentials"]
    assert len(others) <= 1  # one for each worker
    assert asked.form["resource"] == gateway.echo.url
    assert asked.form["scope"] == "read"


async def test_a_token_that_ended_early_is_got_anew_once_for_many_calls(opened: Open, provider: Provider) -> None:
    auth = {"strategy": "service", "token_url": f"{provider.url}/token"}
    gateway = await opened({**auth, "client_id": "gateway", "client_secret": "secret"}, workers=1)
    clock = gateway.workers[0].app.rooms.state.clock
    async with gateway.client("alice", "modern") as client:
        await listed(client, "echo__headers")
        [server] = gateway.workers[0].app.rooms.servers.servers
        assert isinstance(server.provider, BackendProvider)
        credentials: Any = server.provider.backend.credentials
        credentials.clock = lambda: clock() + 60  # past the time in which a new token is not asked for
        before = provider.count("client_credentials")
        provider.expire_all()
        await asyncio.gather(*(client.call_tool("echo__headers", {"tag": str(n)}) for n in range(20)))
        assert provider.count("client_credentials") == before + 1
        assert sorted(gateway.echo.calls, key=int) == [str(n) for n in range(20)]


@pytest.mark.parametrize("fault", ["html", "500", "empty"])
async def test_a_provider_in_trouble_is_the_reason_that_a_client_hears_and_other_servers_go_on(
    fault: Any, opened: Open, provider: Provider
) -> None:
    provider.faults["token"] = fault
    auth = {"strategy": "service", "token_url": f"{provider.url}/token"}
    gateway = await opened(
        {**auth, "client_id": "gateway", "client_secret": "secret"}, workers=1, others={"plain": Echo()}
    )
    async with gateway.client("alice", "modern") as client:
        await listed(client, "plain__headers")
        assert "Backend 'echo': it has not started yet: echo's authorization server" in await said(client)
        assert not (await client.call_tool("plain__headers", {})).is_error


async def said(client: Any) -> str:
    """Why a call of a server that was not reached yet fails, once that is known."""
    async with asyncio.timeout(120):
        while True:
            with pytest.raises(MCPError) as caught:
                await client.call_tool("echo__headers", {})
            if ": it has not started yet: " in str(caught.value):
                return str(caught.value)
