"""The examples with credentials start and work: as they are written, with other addresses and programs beneath them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.authorized.conftest import Gateway, guard, listed
from tests.backends.servers.echo import Echo
from tests.backends.test_credentials import CHILD
from tests.outbound_auth.provider import Client, Provider, served
from tests.sessions.conftest import serving
from tools.fleet.children import free_port
from tools.messages import text
from tools.serving import serving as serving_app

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE: Mapping[str, Any] = {"source": None, "package": None, "version": None, "command": sys.executable}
"""What a server that would be installed is replaced with: a child that tells its environment."""

Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start(provider: Provider) -> AsyncIterator[Start]:
    """`await start(example, {server: what is laid over its row})`: one worker, whose people sign in at the provider."""
    async with AsyncExitStack() as stack:

        async def started(example: str, over: Mapping[str, Any]) -> Gateway:
            port = free_port()
            base = f"http://localhost:{port}"
            worker = await stack.enter_async_context(
                serving(
                    None,
                    port,
                    auth_mode="separate",
                    auth_server_url=provider.url,
                    token_validation="jwt",
                    base_uri=base,
                    config_file=EXAMPLES / example,
                    config_overrides=json.dumps({"mcpServers": dict(over), "tool_search": {"enabled": False}}),
                )
            )
            return Gateway([worker], base, provider, sso=True)

        yield started


async def served_echo(stack: AsyncExitStack, echo: Echo) -> str:
    running = await stack.enter_async_context(serving_app(echo.app()))
    return f"http://127.0.0.1:{running.port}/mcp"


async def sent(client: Any, tool: str) -> dict[str, str]:
    """What a backend got in a call: its headers, or a child's environment."""
    found: dict[str, str] = json.loads(text(await client.call_tool(tool, {})))
    return found


async def test_mixed_auth_starts_and_each_server_gets_its_credential(start: Start, provider: Provider) -> None:
    provider.clients["switchboard"] = Client("unset")
    login = {"auth": {"token_url": f"{provider.url}/token"}}
    async with AsyncExitStack() as stack:
        plain, guarded = Echo(), Echo(guard(provider))
        url, guarded_url = await served_echo(stack, plain), await served_echo(stack, guarded)
        over: dict[str, Any] = {
            "documentation": {"url": url},
            "tracker": {"url": url},
            "search": {**HERE, "args": ["-S", "-c", CHILD]},
            "reports": {"url": guarded_url, **login},
            "calendar": {"url": guarded_url, "auth": {"issuer": provider.url}},
            "warehouse": {"url": guarded_url},
        }
        gateway = await start("mixed-auth.yaml", over)
        await gateway.connect_directly("alice", "calendar")
        async with gateway.client("alice", "modern") as client:
            names = ("documentation", "tracker", "reports", "calendar", "warehouse")
            await listed(client, *(f"{name}__headers" for name in names), "search__environment")
            headers = {name: await sent(client, f"{name}__headers") for name in names}
            assert "authorization" not in headers["documentation"]
            assert headers["tracker"]["x-api-key"] == "unset"
            assert (await sent(client, "search__environment"))["SEARCH_API_KEY"] == "unset"
            granted = {
                name: provider.grant(headers[name]["authorization"].removeprefix("Bearer ")) for name in names[2:]
            }
    found = {name: (grant.subject, grant.scopes, grant.audience) for name, grant in granted.items() if grant}
    assert found == {
        "reports": ("switchboard", ("reports.read",), (guarded_url,)),
        "calendar": ("alice-there", ("calendar",), (guarded_url,)),
        "warehouse": ("alice", (), ("https://warehouse.example.com",)),
    }


async def test_enterprise_starts_and_the_companys_identity_provider_vouches_for_people(
    start: Start, provider: Provider
) -> None:
    provider.clients["switchboard"] = Client("unset")
    partner = Provider(trusts={provider.url: provider}, clients={"switchboard": Client("unset")})
    async with served(partner) as there, AsyncExitStack() as stack:
        open_url, guarded_url = await served_echo(stack, Echo()), await served_echo(stack, Echo(guard(there)))
        child = {"command": sys.executable, "args": ["-S", "-c", CHILD], "source": None}
        over: dict[str, Any] = {
            "crm": {"urls": [open_url]},
            "wiki": {"url": guarded_url, "auth": {"idp": {"issuer": provider.url}, "issuer": there.url}},
            "sheets": {**child, "image": None, "version": None, "run_args": None},
            "ledger": {**child, "repository": None, "commit": None, "allow": ["environment"]},
            "files": {**child, "package": None, "version": None},
        }
        gateway = await start("enterprise.yaml", over)
        async with gateway.client("alice", "handshake") as client:
            children = ("sheets__environment", "ledger__environment", "files__environment")
            await listed(client, "crm__headers", "wiki__headers", *children)
            grant = there.grant((await sent(client, "wiki__headers"))["authorization"].removeprefix("Bearer "))
    assert grant is not None
    assert (grant.subject, grant.scopes, grant.audience) == ("alice", ("wiki.read",), (guarded_url,))
