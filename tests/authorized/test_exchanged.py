"""`token_exchange` and `enterprise`: a person's token is exchanged, and they do nothing for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.authorized.conftest import ERAS, Open, guard
from tests.outbound_auth.provider import Grant, Provider, served
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

CLIENT = {"client_id": "gateway", "client_secret": "secret"}


async def token_of(client: Any, tag: str = "") -> str:
    """The token that the backend got in a call."""
    sent: str = json.loads(text(await client.call_tool("echo__headers", {"tag": tag})))["authorization"]
    return sent.removeprefix("Bearer ")


def grant_of(provider: Provider, token: str) -> Grant:
    found = provider.grant(token)
    assert found is not None
    return found


@pytest.mark.parametrize("era", ERAS)
async def test_the_persons_token_is_exchanged_for_one_for_this_server_alone(
    era: str, opened: Open, provider: Provider
) -> None:
    gateway = await opened({"strategy": "token_exchange", **CLIENT, "scopes": ["read"]}, sso=True)
    async with gateway.client("alice", era) as alice, gateway.client("bob", era) as bob:
        for client, name in ((alice, "alice"), (bob, "bob")):
            token = await token_of(client, name)
            found = grant_of(provider, token)
            assert (found.subject, found.scopes, found.audience) == (name, ("read",), (gateway.echo.url,))
            assert await token_of(client, name) == token  # which serves until it ends
    assert provider.count(EXCHANGE) == 2
    assert (await gateway.token("alice")) not in json.dumps([each.headers for each in gateway.echo.seen])


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


async def test_a_token_that_the_backend_refuses_is_exchanged_anew_and_the_call_served_once(
    opened: Open, provider: Provider
) -> None:
    gateway = await opened({"strategy": "token_exchange", **CLIENT}, sso=True)
    async with gateway.client("alice", "modern") as client:
        first = await token_of(client, "one")
        provider.expire_all()
        assert await token_of(client, "two") != first
    assert gateway.echo.calls == ["one", "two"]


async def test_a_token_is_shown_to_nobody_but_the_issuer_that_made_it(opened: Open, provider: Provider) -> None:
    async with served(Provider()) as foreign:
        auth = {"strategy": "token_exchange", **CLIENT, "issuer": foreign.url, "discovery": "anonymous"}
        gateway = await opened(auth, sso=True)
        gateway.echo.guard = lambda headers: guard(provider)(headers) if "authorization" in headers else None
        async with gateway.client("alice", "modern") as client:
            with pytest.raises(MCPError, match="is exchanged nowhere else"):
                await called(client)
        assert not foreign.of("token")


async def called(client: Any) -> None:
    while True:
        try:
            await client.call_tool("echo__headers", {})
        except MCPError as error:
            if "Unknown tool" not in str(error) and "not started yet" not in str(error):
                raise


@pytest.mark.parametrize("era", ERAS)
async def test_the_companys_identity_provider_vouches_for_the_person_at_the_servers(
    era: str, opened: Open, provider: Provider
) -> None:
    async with served(Provider(trusts={provider.url: provider})) as there:
        auth = {"strategy": "enterprise", "idp": provider.url, **CLIENT, "issuer": there.url, "scopes": ["read"]}
        gateway = await opened(auth, sso=True)
        gateway.echo.guard = guard(there)
        async with gateway.client("alice", era) as alice, gateway.client("bob", era) as bob:
            for client, name in ((alice, "alice"), (bob, "bob")):
                found = grant_of(there, await token_of(client))
                assert (found.subject, found.scopes) == (name, ("read",))
        asked = provider.of("token")[-1].form
        assert (asked["audience"], asked["resource"]) == (there.url, gateway.echo.url)
        assert asked["requested_token_type"] == "urn:ietf:params:oauth:token-type:id-jag"
        assert {each.form["grant_type"] for each in there.of("token")} == {
            "urn:ietf:params:oauth:grant-type:jwt-bearer"
        }
