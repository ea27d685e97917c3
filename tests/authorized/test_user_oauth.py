"""`user_oauth` from a person's chair."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from switchboard.cli.login import obtain_token
from tests.authorized.conftest import ERAS, Gateway, Open, User, listed
from tests.backends.servers.echo import Echo
from tests.backends.test_credentials import CHILD
from tests.outbound_auth.provider import Provider
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


async def names(client: Any) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


async def authorization(client: Any, tag: str = "") -> str:
    """What the backend got in a call."""
    return str(json.loads(text(await client.call_tool("echo__headers", {"tag": tag})))["authorization"])


async def whose(gateway: Gateway, client: Any, tag: str = "") -> str | None:
    return gateway.provider.person((await authorization(client, tag)).removeprefix("Bearer "))


@pytest.mark.parametrize("era", ERAS)
async def test_the_first_call_asks_the_person_to_connect_and_goes_on_by_itself_after_it(
    era: str, opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened({**account, "service": {"client_id": "gateway", "client_secret": "secret", **at(account)}})
    user = User(gateway, "alice")
    async with gateway.client("alice", era, user) as client:
        async with asyncio.timeout(120):
            while "echo__headers" not in await names(client):
                await asyncio.sleep(0.05)
        assert await whose(gateway, client, "one") == "alice-there"
        assert await whose(gateway, client, "two") == "alice-there"
    assert len(user.asked) == 1
    assert gateway.echo.calls == ["one", "two"]
    assert "You are not connected to echo yet" in user.asked[0].message
    await asyncio.gather(*user.tasks)


def at(account: dict[str, Any]) -> dict[str, Any]:
    return {"issuer": account["issuer"]}


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_ask_gets_a_tool_error_with_the_link(
    era: str, opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened(account)
    async with gateway.client("alice", era) as client:
        result = await client.call_tool("echo__connect", {})
        assert result.is_error
        assert f"Open {gateway.base}/connections/connect/echo?link=" in text(result)
        url = text(result).split("Open ")[1].split(" ")[0]
        await gateway.connect("alice", url=url, worker=1)
        with pytest.raises(MCPError, match="an account is connected: list the tools anew"):
            await client.call_tool("echo__connect", {})
        assert await whose(gateway, client) == "alice-there"


@pytest.mark.parametrize("era", ERAS)
async def test_until_a_person_has_connected_there_is_one_tool_that_asks_them_to(
    era: str, opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened(account)
    user = User(gateway, "alice")
    async with gateway.client("alice", era, user) as client, gateway.client("bob", era) as other:
        assert await names(client) == await names(other) == ["echo__connect"]
        result = await client.call_tool("echo__connect", {})
        assert text(result) == "Connected to echo. Its tools are listed now."
        for _ in range(3):  # through every worker
            assert await names(client) == ["echo__headers", "echo__grow"]
        assert await names(other) == ["echo__connect"]
        assert await whose(gateway, client) == "alice-there"
        await gateway.of(0).notices.tell(gateway.person("alice"), "echo")
    await asyncio.gather(*user.tasks)


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_of_a_tool_that_is_there_after_connecting_asks_and_goes_on(
    era: str, opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened(account, deny=["other"])
    user = User(gateway, "alice")
    async with gateway.client("alice", era, user) as client:
        assert await whose(gateway, client) == "alice-there"
        with pytest.raises(MCPError, match="Unknown tool: echo__other"):
            await client.call_tool("echo__other", {})
    assert len(user.asked) == 1
    await asyncio.gather(*user.tasks)


async def test_whoever_declines_is_told_so(opened: Open, account: dict[str, Any]) -> None:
    gateway = await opened(account)
    for era in ERAS:
        async with gateway.client("alice", era, User(gateway, "alice", "decline")) as client:
            result = await client.call_tool("echo__connect", {})
            assert result.is_error
            assert text(result) == "You are not connected to echo yet, and connecting was declined"


async def test_a_token_that_is_refused_in_mid_call_is_renewed_once_and_the_call_is_served_once(
    opened: Open, account: dict[str, Any], provider: Provider
) -> None:
    gateway = await opened(account)
    await gateway.connect("alice")
    async with gateway.client("alice", "handshake") as client:
        await names(client)
        first = await authorization(client, "one")
        provider.expire_all()
        second = await authorization(client, "two")
    assert first != second
    assert provider.count("refresh_token") == 1
    assert gateway.echo.calls == ["one", "two"]


@pytest.mark.parametrize("era", ERAS)
async def test_whoever_took_back_what_they_allowed_is_asked_again(
    era: str, opened: Open, account: dict[str, Any], provider: Provider
) -> None:
    gateway = await opened(account)
    await gateway.connect("alice")
    user = User(gateway, "alice")
    async with gateway.client("alice", era, user) as client:
        await names(client)
        await authorization(client, "one")
        provider.revoke_all("alice-there")
        assert await whose(gateway, client, "two") == "alice-there"
    assert len(user.asked) == 1
    assert gateway.echo.calls == ["one", "two"]
    await asyncio.gather(*user.tasks)


@pytest.mark.parametrize("era", ERAS)
async def test_a_backend_that_wants_more_to_be_allowed_has_the_person_asked_for_it(
    era: str, opened: Open, account: dict[str, Any], provider: Provider
) -> None:
    gateway = await opened(account)
    await gateway.connect("alice")
    user = User(gateway, "alice")
    async with gateway.client("alice", era, user) as client:
        await names(client)
        gateway.echo.guard = guard_of(provider, "write")
        assert await whose(gateway, client, "one") == "alice-there"
    assert "wants you to allow more for this: write" in user.asked[0].message
    assert len(user.asked) == 1
    assert provider.of("authorize")[-1].form["scope"] == "read write"
    await asyncio.gather(*user.tasks)


def guard_of(provider: Provider, scope: str) -> Any:
    from tests.authorized.conftest import guard

    return guard(provider, scope)


async def test_an_account_that_was_ended_is_refused_by_the_next_call_on_every_worker(
    opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened(account)
    await gateway.connect("alice")
    async with gateway.client("alice", "modern") as client:
        await names(client)
        await authorization(client, "one")
        await gateway.accounts().revoke(gateway.person("alice"))
        for _ in range(3):
            result = await client.call_tool("echo__headers", {"tag": "two"})
            assert "You are not connected to echo yet. Open " in text(result)
    assert gateway.echo.calls == ["one"]


async def test_a_child_gets_its_persons_token_and_ends_when_the_account_does(
    opened: Open, account: dict[str, Any], provider: Provider
) -> None:
    child = {"command": sys.executable, "args": ["-S", "-c", CHILD], "auth": {**account, "env": "TOKEN_VARIABLE"}}
    gateway = await opened({"strategy": "none"}, others={"child": Echo()}, rows={"child": {**child, "url": None}})
    for name in ("alice", "bob"):
        await gateway.connect_directly(name, "child")
    async with gateway.client("alice", "handshake") as alice, gateway.client("bob", "modern") as bob:
        for client, name in ((alice, "alice"), (bob, "bob")):
            await listed(client, "child__environment")
            found = json.loads(text(await client.call_tool("child__environment", {})))
            assert provider.person(found["TOKEN_VARIABLE"]) == f"{name}-there"
        await gateway.accounts("child").revoke(gateway.person("alice"))
        await gateway.of(0).notices.tell(gateway.person("alice"), "child")
        async with asyncio.timeout(120):
            while "child__connect" not in await names(alice):
                await asyncio.sleep(0.05)
        assert (await alice.call_tool("child__environment", {})).is_error
        assert not (await bob.call_tool("child__environment", {})).is_error


async def test_a_decision_tells_who_has_to_connect_before_a_call_comes_through(
    opened: Open, account: dict[str, Any]
) -> None:
    gateway = await opened(account)
    operator = await asyncio.to_thread(partial(obtain_token, f"{gateway.base}/mcp", user="admin", scope="admin:read"))

    async def decided(name: str) -> tuple[bool, str]:
        query = {"subject": name}
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {operator}"}, trust_env=False) as http:
            url = f"http://localhost:{gateway.workers[0].port}/api/tools/echo__headers/decision"
            found = (await http.get(url, params=query)).json()
        return found["allowed"], found["steps"][-1]["said"]

    await gateway.connect_directly("alice", "echo")
    async with gateway.client("alice", "modern") as client:
        await listed(client, "echo__headers")
    assert await decided("alice") == (True, "connected to echo")
    allowed, said = await decided("bob")
    assert not allowed
    assert said.startswith("the person has to connect to echo")
