"""One backend behind each strategy, two people, three workers, both eras: nothing crosses, and everything works."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client
from mcp.client.subscriptions import listen
from mcp_types import TextContent, TextResourceContents, ToolListChangedNotification

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

Check = Callable[["Heard", str, str, Whose], Awaitable[bool]]
"""Whether something works: client, person, strategy, what the backend should get."""


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
            others={name: Echo(guards.get(name, lambda _: None), scheme=name.replace("_", "-")) for name in STRATEGIES},
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
    async with asyncio.timeout(120):
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


# -- the matrix -------------------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """A client, and which lists it was told to look at."""

    client: Client
    era: str
    lists: asyncio.Event


@asynccontextmanager
async def hearing(gateway: Gateway, name: str, era: str) -> AsyncIterator[Heard]:
    """A client that listens for changes of the list of tools."""
    told = asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.set()

    async with gateway.client(name, era, message_handler=hear) as client, asyncio.TaskGroup() as tasks:

        async def follow() -> None:
            async with listen(client.session, tools_list_changed=True) as events:
                async for _ in events:
                    told.set()

        following = tasks.create_task(follow()) if era == "modern" else None
        await ready(client)
        yield Heard(client, era, told)
        if following is not None:
            following.cancel()


async def called(heard: Heard, name: str, strategy: str, whose: Whose) -> bool:
    return whose(name, json.loads(text(await heard.client.call_tool(f"{strategy}__headers", {}))))


async def listed(heard: Heard, _name: str, strategy: str, _whose: Whose) -> bool:
    return f"{strategy}__headers" in {tool.name for tool in (await heard.client.list_tools()).tools}


async def read(heard: Heard, name: str, strategy: str, whose: Whose) -> bool:
    [content] = (await heard.client.read_resource(f"{strategy.replace('_', '-')}://headers")).contents
    return isinstance(content, TextResourceContents) and whose(name, json.loads(content.text))


async def prompted(heard: Heard, name: str, strategy: str, whose: Whose) -> bool:
    content = (await heard.client.get_prompt(f"{strategy}__said", {"of": "x"})).messages[0].content
    return isinstance(content, TextContent) and whose(name, json.loads(content.text))


async def told(heard: Heard, _name: str, strategy: str, _whose: Whose) -> bool:
    """Whether the client hears that there is another tool, and finds it."""
    heard.lists.clear()
    tool = f"grown_{heard.era}"
    await heard.client.call_tool(f"{strategy}__grow", {"name": tool})
    async with asyncio.timeout(120):
        await heard.lists.wait()
        while f"{strategy}__{tool}" not in {each.name for each in (await heard.client.list_tools()).tools}:
            heard.lists.clear()
            await heard.lists.wait()
    return True


COLUMNS: Final[Mapping[str, Check]] = {
    "call": called,
    "list": listed,
    "read": read,
    "prompt": prompted,
    "listen": told,
}


async def test_the_page_says_what_works_with_each_strategy_in_each_era(setup: Setup) -> None:
    rows = []
    for era in ERAS:
        async with hearing(setup.gateway, "alice", era) as heard:
            for strategy in STRATEGIES:
                works = [await check(heard, "alice", strategy, setup.expected[strategy]) for check in COLUMNS.values()]
                rows.append([era, f"`{strategy}`", *("yes" if each else "no" for each in works)])
    lines = [["client", "strategy", *COLUMNS], ["---"] * (2 + len(COLUMNS)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    marked = re.compile(r"(<!-- strategies -->\n).*?(\n<!-- /strategies -->)", re.DOTALL)
    page = PAGE.read_text()
    written = marked.sub(lambda found: f"{found[1]}{table}{found[2]}", page)
    PAGE.write_text(written)
    assert page == written, "docs/gateway.md was written anew"
