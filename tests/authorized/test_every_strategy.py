"""One backend behind each strategy, two people, three workers, both eras: nothing crosses, and everything works."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client

from tests.authorized.conftest import ERAS, Gateway, Open, guard
from tests.backends.servers.echo import Echo
from tests.outbound_auth.provider import Provider, served
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

PEOPLE: Final = ("alice", "bob")
STRATEGIES: Final = ("none", "service", "user_oauth", "token_exchange", "enterprise")
CALLS: Final = 1_000
AT_ONCE: Final = 20
PAGE: Final = Path(__file__).parents[2] / "docs" / "gateway.md"
CLIENT: Final = {"client_id": "gateway", "client_secret": "secret", "scopes": ["read"]}

Whose = Callable[[str, dict[str, str]], bool]
"""Whether a backend got what it should in the call of a person: their name and the headers."""


@dataclass
class Setup:
    """The gateway, and what each backend should get."""

    gateway: Gateway
    expected: dict[str, Whose]


@pytest.fixture
async def setup(opened: Open, provider: Provider) -> AsyncIterator[Setup]:
    """Three workers over five backends; both people have connected their accounts."""
    async with served(Provider(trusts={provider.url: provider})) as there:
        auth: dict[str, dict[str, Any]] = {
            "service": {"strategy": "service", "api_key": "the-gateways", "header": "X-Api-Key"},
            "user_oauth": {"strategy": "user_oauth", "issuer": provider.url, **CLIENT},
            "token_exchange": {"strategy": "token_exchange", **CLIENT},
            "enterprise": {"strategy": "enterprise", "idp": provider.url, "issuer": there.url, **CLIENT},
        }
        guards = {"user_oauth": guard(provider), "token_exchange": guard(provider), "enterprise": guard(there)}
        gateway = await opened(
            {"strategy": "none"},
            workers=3,
            sso=True,
            others={name: Echo(guards.get(name, lambda _: None)) for name in STRATEGIES},
            rows={name: {"auth": row} for name, row in auth.items()},
        )
        for name in PEOPLE:
            await gateway.connect_directly(name, "user_oauth")

        def of(whose: Provider, suffix: str = "") -> Whose:
            def holds(name: str, headers: dict[str, str]) -> bool:
                return whose.person(headers["authorization"].removeprefix("Bearer ")) == f"{name}{suffix}"

            return holds

        expected: dict[str, Whose] = {
            "none": lambda _, headers: "authorization" not in headers,
            "service": lambda _, headers: headers["x-api-key"] == "the-gateways" and "authorization" not in headers,
            "user_oauth": of(provider, "-there"),
            "token_exchange": of(provider),
            "enterprise": of(there),
        }
        yield Setup(gateway, expected)


async def ready(client: Client) -> None:
    """Wait until all of it is offered."""
    wanted = {f"{name}__headers" for name in STRATEGIES}
    async with asyncio.timeout(30):
        while not wanted <= {tool.name for tool in (await client.list_tools()).tools}:
            await asyncio.sleep(0.05)


async def test_a_thousand_calls_of_two_people_on_three_workers_cross_nowhere(setup: Setup) -> None:
    async with AsyncExitStack() as stack:
        clients = {
            (name, era): await stack.enter_async_context(setup.gateway.client(name, era))
            for name, era in itertools.product(PEOPLE, ERAS)
        }
        for client in clients.values():
            await ready(client)
        limit = asyncio.Semaphore(AT_ONCE)
        wrong: list[str] = []

        async def call(number: int, who: tuple[str, str], strategy: str) -> None:
            tag = f"{who[0]} {number}"
            async with limit:
                result = await clients[who].call_tool(f"{strategy}__headers", {"tag": tag})
            if result.is_error or not setup.expected[strategy](who[0], json.loads(text(result))):
                wrong.append(f"{strategy}: {tag}: {text(result)}")

        turns = itertools.cycle(itertools.product(clients, STRATEGIES))
        await asyncio.gather(*(call(number, *next(turns)) for number in range(CALLS)))
        assert wrong == []
