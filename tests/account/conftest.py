"""Two workers with things to connect to, an OAuth provider for them, and people with browsers of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
import pytest_asyncio
import redis.asyncio

from switchboard.cli.login import obtain_token
from switchboard.outbound_auth.connectables import Connectable, CredentialField
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from tests.outbound_auth.provider import Provider, served
from tests.sessions.conftest import Worker, serving
from tools.fleet.children import free_port

KEY = CredentialField("key", "API key", pattern="sk-[a-z0-9]+", description="It begins with sk-")
SITE = CredentialField("site", "Address", "url", required=False)
HOPS = 12

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_ACTION = re.compile(r'<form method="post"[^>]* action="([^"]*)"')


@dataclass
class House:
    """Workers with the same things to connect to: `tracker` by OAuth, `weather` by typed fields."""

    workers: list[Worker]
    base: str
    provider: Provider

    def browser(self, name: str = "alice") -> Browser:
        """A new browser, whose user is `name` at the identity provider."""
        return Browser(self, name)

    def of(self, number: int) -> Any:
        """What worker `number` has for credentials."""
        return self.workers[number].app.rooms.credentials

    def link(self, subject: str, name: str = "tracker") -> str:
        """What a call hands out to a person."""
        return str(self.of(0).links.link(self.person(subject), name))

    def person(self, subject: str) -> str:
        """The person whom our own authorization server calls so."""
        return f'["{self.base}", "{subject}"]'


@dataclass
class Browser:
    """Somebody with cookies of their own, who follows redirects by hand."""

    house: House
    name: str
    worker: int = 0
    """Which worker of the house is asked: the balancer's choice."""
    http: httpx2.AsyncClient = field(init=False)

    async def __aenter__(self) -> Browser:
        self.http = httpx2.AsyncClient(timeout=60, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def send(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """One request; one to the house goes to the worker that is asked now."""
        url = urljoin(self.house.base, url)
        headers = dict(options.pop("headers", {}))
        ours = urlsplit(self.house.base).netloc
        if urlsplit(url).netloc == ours:
            headers = {"Host": ours} | headers
            url = url.replace(ours, f"localhost:{self.house.workers[self.worker].port}", 1)
        return await self.http.request(method, url, headers=headers, **options)

    async def get(self, url: str, *, until: str = "", **options: Any) -> httpx2.Response:
        """Go there, and on until there is a page, signing in on the way; or stop before an address with `until`."""
        answer = await self.send("GET", url, **options)
        for _ in range(HOPS):
            onward = answer.headers.get("location")
            if onward is not None:
                if until and until in onward:
                    return answer
                answer = await self.send("GET", onward)
            elif "/consent" in answer.text or "/fakeupstreamauth/redirect" in answer.text:
                answer = await self.submit(answer, decision="allow", user_id=self.name)
            else:
                return answer
        raise AssertionError("it goes on and on")

    async def submit(self, page: httpx2.Response, headers: dict[str, str] | None = None, /, **chosen: str) -> Any:
        """Send the last form of a page; its answer, not followed."""
        shown = str(page.url)
        ours = any(urlsplit(shown).port == worker.port for worker in self.house.workers)
        action = urljoin(self.house.base if ours else shown, _ACTION.findall(page.text)[-1])
        return await self.send("POST", action, data=dict(_HIDDEN.findall(page.text)) | chosen, headers=headers or {})

    async def connect(self, name: str = "tracker") -> httpx2.Response:
        """All the way through the provider: the page at the end."""
        page = await self.get(f"{urlsplit(self.house.base).path}/connections/connect/{name}")
        left = await self.submit(page, decision="connect")
        return await self.get(left.headers["location"])


OpenHouse = Callable[..., Awaitable[House]]


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[Provider]:
    async with served(Provider(signed_in="alice-there")) as running:
        yield running


@asynccontextmanager
async def opening(redis_url: str, workers: int = 2, path: str = "", **settings: Any) -> AsyncIterator[House]:
    """Workers that have nothing to connect to yet."""
    port = urlsplit(settings.get("base_uri", "")).port or free_port()
    base = settings.pop("base_uri", f"http://localhost:{port}{path}")
    given = {"auth_mode": "integrated", "base_uri": base} | settings
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(serving(redis_url, port if number == 0 else 0, **given))
            for number in range(workers)
        ]
        yield House(running, base, Provider())


@pytest_asyncio.fixture(loop_scope="module")
async def open_house(redis_url: str, provider: Provider) -> AsyncIterator[OpenHouse]:
    """`await open_house(workers=2, path="", **settings)`: a house of the test's own."""
    async with AsyncExitStack() as stack:

        async def opened(*given: Any, **settings: Any) -> House:
            return furnished(await stack.enter_async_context(opening(redis_url, *given, **settings)), provider)

        yield opened


@dataclass
class Shared:
    """The house of all tests of a module, and the keys that its workers wrote when they started."""

    house: House
    began_with: frozenset[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(fleet_redis: str) -> AsyncIterator[Shared]:
    async with (
        opening(fleet_redis) as opened,
        redis.asyncio.Redis.from_url(fleet_redis, decode_responses=True) as client,
    ):
        yield Shared(opened, frozenset(str(key) for key in await client.keys()))


@pytest_asyncio.fixture(loop_scope="module")
async def house(shared: Shared, fleet_redis: str, provider: Provider) -> AsyncIterator[House]:
    """Two workers, with our authorization server in each, that know nobody: what a test left in Redis is deleted."""
    yield furnished(shared.house, provider)
    async with redis.asyncio.Redis.from_url(fleet_redis, decode_responses=True) as client:
        if left := [key for key in await client.keys() if key not in shared.began_with]:
            await client.delete(*left)


def furnished(house: House, provider: Provider) -> House:
    """The same workers, with things to connect to at this provider."""
    for worker in house.workers:
        furnish(worker, provider)
    return House(house.workers, house.base, provider)


def furnish(worker: Worker, provider: Provider) -> None:
    """Give a worker things to connect to."""
    credentials = worker.app.rooms.credentials
    tracker = OAuthProvider(
        "Tracker", issuer=provider.url, client_id="gateway", client_secret="secret", scopes=("read", "write")
    )
    accounts = credentials.outbound.accounts("server:tracker", "tracker", tracker)
    credentials.connectables.put(
        Connectable("tracker", "server:tracker", "Issue <tracker>", "Bugs", ("read", "write"), accounts)
    )
    credentials.connectables.put(Connectable("weather", "plugin:weather", "Weather", fields=(KEY, SITE)))


@pytest.fixture
def mcp_token() -> Callable[..., Awaitable[str]]:
    """`await mcp_token(house, name, scope)`: an access token that somebody's MCP client got."""

    async def get(house: House, name: str, scope: str | None = None) -> str:
        return await asyncio.to_thread(obtain_token, f"{house.base}/mcp", user=name, scope=scope)

    return get
