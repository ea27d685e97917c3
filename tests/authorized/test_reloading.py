"""What the configuration says of credentials comes into force when it is changed, on every worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from switchboard.config.overlay import Overlay
from switchboard.outbound_auth.kept_id_tokens import KeptIdTokens
from tests.authorized.conftest import ERAS, Open, guard, listed
from tests.outbound_auth.provider import Provider, served
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


async def test_a_changed_credential_comes_into_force_and_one_that_is_gone_connects_nobody(
    opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened({"strategy": "service", "api_key": "before", "header": "X-Key"})
    gateway.echo.guard = lambda _: None
    overlay = Overlay(gateway.workers[0].app.rooms.state)
    async with gateway.client("alice", "modern") as client:
        await listed(client, "echo__headers")
        assert await key(client) == "before"
        await overlay.change({"mcpServers": {"echo": {"auth": {"api_key": "after"}}}})
        async with asyncio.timeout(120):
            while {await key(client) for _ in gateway.workers} != {"after"}:
                await asyncio.sleep(0.05)
        none = {"api_key": None, "header": None}
        await overlay.change({"mcpServers": {"echo": {"auth": {**none, **account}}}})
        async with asyncio.timeout(120):
            while not all(gateway.of(number).connectables.find("echo") for number in range(2)):
                await asyncio.sleep(0.05)
        await overlay.change({"mcpServers": {"echo": {"enabled": False}}})
        async with asyncio.timeout(120):
            while any(gateway.of(number).connectables.find("echo") for number in range(2)):
                await asyncio.sleep(0.05)


async def key(client: Any) -> str | None:
    found: dict[str, str] = json.loads(text(await client.call_tool("echo__headers", {})))
    return found.get("x-key")


@pytest.mark.parametrize("era", ERAS)
async def test_people_of_our_authorization_server_are_vouched_for_by_the_company_they_signed_in_at(
    era: str, opened: Open, provider: Provider
) -> None:
    async with served(Provider(trusts={provider.url: provider})) as there:
        client = {"client_id": "gateway", "client_secret": "secret"}
        gateway = await opened({"strategy": "enterprise", "idp": provider.url, "issuer": there.url, **client})
        gateway.echo.guard = guard(there)
        kept = KeptIdTokens(gateway.of(0).vault, gateway.base)
        await kept.keep("alice", provider.signed(sub="a-1", aud="gateway"))
        async with gateway.client("alice", era) as alice:
            await listed(alice, "echo__headers")
            sent = json.loads(text(await alice.call_tool("echo__headers", {})))["authorization"]
        assert there.person(sent.removeprefix("Bearer ")) == "a-1"
