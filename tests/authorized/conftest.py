"""Whole workers with people, whose backend is guarded by an OAuth provider and returns what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult
from starlette.responses import PlainTextResponse, Response

from tests.account.conftest import Browser, House
from tests.backends.servers.echo import Echo
from tests.outbound_auth.conftest import visit
from tests.outbound_auth.provider import Provider, served
from tests.sessions.conftest import serving
from tools.fleet.children import free_port
from tools.fleet.workers import drive_token
from tools.serving import serving as serving_app

ERAS = ("handshake", "modern")


class Rotating(httpx2.AsyncHTTPTransport):
    """A balancer without stickiness: each request of the house goes to the next worker."""

    def __init__(self, ports: list[int], headers: Mapping[str, str]) -> None:
        super().__init__()
        self._ports = ports
        self._headers = headers
        self._next = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers.update({"host": request.url.netloc.decode(), **self._headers})
        self._next += 1
        request.url = request.url.copy_with(port=self._ports[self._next % len(self._ports)])
        return await super().handle_async_request(request)


@dataclass
class Gateway(House):
    """Workers over a configuration file."""

    echo: Echo = field(default_factory=Echo)
    tokens: dict[str, str] = field(default_factory=dict)
    sso: bool = False
    """Whether people's tokens are the provider's, not ours."""

    async def token(self, name: str) -> str:
        """An access token that somebody's MCP client got."""
        if self.sso and name not in self.tokens:
            said = {"aud": f"{self.base}/mcp", "scope": "mcp", "client_id": "app"}
            self.tokens[name] = self.provider.signed(sub=name, **said)
        if name not in self.tokens:
            self.tokens[name] = await asyncio.to_thread(drive_token, f"{self.base}/mcp", name)
        return self.tokens[name]

    @asynccontextmanager
    async def client(self, name: str, era: str, user: User | None = None, **options: Any) -> AsyncIterator[Client]:
        """Somebody's MCP client, whose requests go to the workers in turn."""
        sent = {"authorization": f"Bearer {await self.token(name)}"}
        ports = [worker.port for worker in self.workers]
        async with httpx2.AsyncClient(transport=Rotating(ports, sent), timeout=300) as http:
            streams = streamable_http_client(f"{self.base}/mcp", http_client=http)
            callback: Any = user.elicit if user is not None else None
            mode: Any = "legacy" if era == "handshake" else "auto"
            async with Client(streams, mode=mode, elicitation_callback=callback, **options) as client:
                yield client

    async def connect(self, name: str, server: str = "echo", url: str = "", worker: int = 0) -> None:
        """Have somebody connect with a browser, which is told `NAME-there` at the provider."""
        async with self.browser(name) as browser:
            browser.worker = worker
            await through(browser, url or f"{urlsplit(self.base).path}/connections/connect/{server}")

    def person(self, subject: str) -> str:
        """The person whom the issuer of this gateway's tokens calls so."""
        return f'["{self.provider.url if self.sso else self.base}", "{subject}"]'

    async def connect_directly(self, name: str, server: str) -> None:
        """Have somebody connect, without the pages."""
        accounts, person = self.accounts(server), self.person(name)
        self.provider.signed_in = f"{name}-there"
        url, kept = await accounts.begin(person, redirect_uri=f"{self.base}/oauth/callback/{server}")
        await accounts.finish(person, await visit(url), kept)
        await self.of(0).notices.tell(person, server)

    def accounts(self, server: str = "echo") -> Any:
        """The accounts of a server, on the first worker."""
        found = self.of(0).connectables.find(server)
        assert found is not None
        return found.accounts


async def through(browser: Browser, url: str) -> None:
    """All the way from the connect page through the provider and back."""
    page = await browser.get(url)
    assert page.status_code == 200, page.text
    left = await browser.submit(page, decision="connect")
    browser.house.provider.signed_in = f"{browser.name}-there"
    done = await browser.get(left.headers["location"])
    assert done.status_code == 200, done.text


@dataclass
class User:
    """Answers what a client asks its person: by connecting, through another worker, after having said yes."""

    gateway: Gateway
    name: str
    action: Any = "accept"
    worker: int = 1
    asked: list[Any] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def elicit(self, _context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        if self.action == "accept":
            connecting = self.gateway.connect(self.name, url=params.url, worker=self.worker)
            self.tasks.append(asyncio.create_task(connecting))
        return ElicitResult(action=self.action)


async def listed(client: Client, *tools: str) -> None:
    """Wait until these are listed."""
    async with asyncio.timeout(120):
        while not {tool.name for tool in (await client.list_tools()).tools} >= set(tools):
            await asyncio.sleep(0.05)


def guard(provider: Provider, scope: str = "") -> Callable[[Mapping[str, str]], Response | None]:
    """Lets in whoever has a good token of the provider's, which allows `scope`."""

    def refusal(headers: Mapping[str, str]) -> Response | None:
        grant = provider.grant(headers.get("authorization", "").removeprefix("Bearer "))
        if grant is None:
            return PlainTextResponse("sign in", 401, {"www-authenticate": 'Bearer error="invalid_token"'})
        if scope and scope not in grant.scopes:
            said = f'Bearer error="insufficient_scope", scope="{scope}"'
            return PlainTextResponse("not enough", 403, {"www-authenticate": said})
        return None

    return refusal


Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with served(Provider()) as running:
        yield running


@pytest.fixture
async def opened(redis_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[Open]:
    """`await opened({"strategy": …}, workers=3, others={name: Echo()}, rows={name: row}, **row)`: with a server `echo`.

    Args:
        sso: whether people sign in at the provider, and call with its tokens.
        settings: more of the workers'.
    """
    async with AsyncExitStack() as stack:

        async def start(
            auth: Mapping[str, Any],
            *,
            workers: int = 2,
            sso: bool = False,
            others: Mapping[str, Echo] | None = None,
            rows: Mapping[str, Mapping[str, Any]] | None = None,
            settings: Mapping[str, Any] | None = None,
            **row: Any,
        ) -> Gateway:
            echoes = {"echo": Echo(guard(provider)), **(others or {})}
            servers: dict[str, Any] = {"echo": {"auth": dict(auth), **row}, **(rows or {})}
            for name, echo in echoes.items():
                running_echo = await stack.enter_async_context(serving_app(echo.app()))
                echo.url = f"http://127.0.0.1:{running_echo.port}/mcp"
                servers[name] = {"url": echo.url, **servers.get(name, {})}
            port = free_port()
            base = f"http://localhost:{port}"
            file = tmp_path / "switchboard.json"
            file.write_text(json.dumps({"plugins": {"everything": {"enabled": False}}, "mcpServers": servers}))
            given: dict[str, Any] = {
                "auth_mode": "integrated",
                "base_uri": base,
                "config_file": file,
                **(settings or {}),
            }
            if sso:
                given |= {"auth_mode": "separate", "auth_server_url": provider.url, "token_validation": "jwt"}
            running = [
                await stack.enter_async_context(serving(redis_url, port if number == 0 else 0, **given))
                for number in range(workers)
            ]
            return Gateway(running, base, provider, echoes["echo"], sso=sso)

        yield start


@pytest.fixture
def account(provider: Provider) -> dict[str, Any]:
    """`auth` of a server at which people connect accounts of the provider's."""
    client = {"client_id": "gateway", "client_secret": "secret", "scopes": ["read"]}
    return {"strategy": "user_oauth", "issuer": provider.url, **client}
