"""AUTH.md, a corporate SSO: a real OpenID provider that is not ours (npm oidc-provider), and the official client."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp_types import TextContent

from tools.fleet.children import Child, answers, free_port, start
from tools.fleet.tokens import MemoryTokenStorage
from tools.fleet.workers import start_worker
from tools.messages import ACCEPT, INITIALIZE

PROVIDER = Path(__file__).parent / "provider"
NODE = Path(__file__).parents[1] / "journeys" / "clients" / "node_modules" / ".bin" / "node"
CALLBACK = "http://127.0.0.1:33418/callback"
MOST_PAGES = 20


@dataclass(frozen=True)
class Apart:
    """The provider's issuer URL, and where the resource will be."""

    issuer: str
    base: str


@pytest.fixture
def start_provider(tmp_path: Path) -> Iterator[Callable[[str], Apart]]:
    """`start_provider("jwt")`: access tokens as JWTs, or opaque."""
    node = str(NODE) if NODE.exists() else shutil.which("node")
    if node is None or not (PROVIDER / "node_modules").exists():
        pytest.skip("no OpenID provider: run `make node` and `npm install --prefix tests/sso/provider`")
    with ExitStack() as stack:

        def started(form: str) -> Apart:
            port, ours = free_port(), free_port()
            base = f"http://localhost:{ours}"
            child: Child = start(
                "provider", [node, str(PROVIDER / "provider.mjs"), str(port), form, f"{base}/mcp"], tmp_path
            )
            stack.callback(child.stop)
            child.wait_until(lambda: answers(port, "/.well-known/openid-configuration"), 120)
            return Apart(f"http://localhost:{port}", base)

        yield started


@dataclass
class Person:
    """Somebody with a browser, who fills in every form as alice and agrees to everything."""

    pages: list[str] = field(default_factory=list)
    back: dict[str, str] = field(default_factory=dict)

    async def open(self, url: str) -> None:
        """From the client's link until the redirect to the client."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.get(url)
            for _ in range(MOST_PAGES):
                self.pages.append(str(response.url.copy_with(query=None)))
                where = response.headers.get("location", "")
                if where.startswith(CALLBACK):
                    self.back = dict(parse_qsl(urlsplit(where).query))
                    return
                response = await self._next(http, response)
        raise AssertionError(f"never came back: {self.pages}")

    async def _next(self, http: httpx2.AsyncClient, response: httpx2.Response) -> httpx2.Response:
        if response.is_redirect:
            return await http.get(urljoin(str(response.url), response.headers["location"]))
        form = re.search(r'<form[^>]*action="([^"]*)"', response.text)
        if form is None:
            raise AssertionError(f"{response.status_code} without a form: {response.text[-600:]}")
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.text))
        filled = hidden | {"login": "alice", "password": "any", "decision": "allow"}
        return await http.post(urljoin(str(response.url), html.unescape(form[1])), data=filled)

    async def code(self) -> AuthorizationCodeResult:
        """What the client gets."""
        return AuthorizationCodeResult(code=self.back["code"], state=self.back["state"], iss=self.back.get("iss"))


@dataclass
class Session:
    """What one stay of the official client showed."""

    whoami: dict[str, Any]
    echoed: str
    kept: MemoryTokenStorage
    person: Person


async def _signed_in(base: str, mode: str = "auto") -> Session:
    """The official client's whole way: 401, metadata, registration, sign-in, token, and then it calls tools."""
    kept, person = MemoryTokenStorage(), Person()
    metadata = OAuthClientMetadata(
        redirect_uris=[CALLBACK], client_name="Probe", token_endpoint_auth_method="none", scope="mcp"
    )
    auth = OAuthClientProvider(f"{base}/mcp", metadata, kept, person.open, person.code)
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False, timeout=60) as http,
        Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=mode) as client,
    ):
        whoami = (await client.call_tool("whoami")).structured_content
        echoed = (await client.call_tool("echo", {"message": "signed in"})).content[0]
    assert whoami is not None
    assert isinstance(echoed, TextContent)
    return Session(whoami, echoed.text, kept, person)


@pytest.fixture
def serve_worker(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`await serve_worker(apart, auth_mode="separate", …)`: a worker of its own process, at the address kept for it."""
    with ExitStack() as stack:

        async def serve(apart: Apart, **settings: str) -> None:
            port = urlsplit(apart.base).port or 0
            env = {name.upper(): value for name, value in settings.items()} | {
                "BASE_URI": apart.base,
                "LOG_LEVEL": "debug",
            }
            stack.callback((await asyncio.to_thread(start_worker, tmp_path / str(port), port, env)).stop)

        yield serve


DIRECT = [
    ("jwt", "jwt", "auto"),
    ("jwt", "auto", "legacy"),
    ("opaque", "introspection", "legacy"),
    ("opaque", "auto", "auto"),
]


@pytest.mark.parametrize(("form", "validation", "mode"), DIRECT)
async def test_the_official_client_signs_in_there_and_calls_tools_here(
    form: str, validation: str, mode: str, start_provider: Any, serve_worker: Any
) -> None:
    apart = start_provider(form)
    asking = {"introspection_client_id": "switchboard", "introspection_client_secret": "for tests only"}
    await serve_worker(apart, auth_mode="separate", auth_server_url=apart.issuer, token_validation=validation, **asking)
    stay = await _signed_in(apart.base, mode)
    assert stay.kept.tokens is not None
    assert stay.kept.client is not None
    assert stay.kept.tokens.access_token.count(".") == (2 if form == "jwt" else 0)
    said = {"subject": "alice", "client": stay.kept.client.client_id, "scopes": ["mcp"], "issuer": apart.issuer}
    assert {name: stay.whoami[name] for name in said} == said
    assert "signed in" in stay.echoed


async def test_a_token_for_another_resource_of_the_same_provider_is_refused(
    start_provider: Any, serve_worker: Any
) -> None:
    apart = start_provider("jwt")
    common = {"auth_mode": "separate", "auth_server_url": apart.issuer, "token_validation": "jwt"}
    await serve_worker(apart, **common)
    stay = await _signed_in(apart.base)
    other = Apart(apart.issuer, f"http://localhost:{free_port()}")
    await serve_worker(other, **common)
    assert stay.kept.tokens is not None
    async with httpx2.AsyncClient(trust_env=False) as http:
        headers = {"Authorization": f"Bearer {stay.kept.tokens.access_token}", **ACCEPT}
        assert (await http.post(f"{apart.base}/mcp", headers=headers, json=INITIALIZE)).status_code == 200
        assert (await http.post(f"{other.base}/mcp", headers=headers, json=INITIALIZE)).status_code == 401


async def test_as_upstream_it_signs_people_in_and_the_tokens_are_ours(start_provider: Any, serve_worker: Any) -> None:
    apart = start_provider("jwt")
    known = {"upstream_client_id": "switchboard", "upstream_client_secret": "for tests only"}
    await serve_worker(apart, upstream="oidc", upstream_issuer=apart.issuer, **known)
    stay = await _signed_in(apart.base)
    assert (stay.whoami["subject"], stay.whoami["issuer"]) == ("alice", apart.base)
    pages = stay.person.pages
    assert pages.index(f"{apart.base}/consent") < pages.index(f"{apart.issuer}/auth")
    assert stay.kept.client is not None
    assert stay.whoami["client"] == stay.kept.client.client_id
