"""AUTH.md, a corporate SSO: a real OpenID provider that is not ours (npm oidc-provider), and the official client."""

from __future__ import annotations

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
from fleet.children import Child, answers, free_port, start
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from switchboard.settings import Settings, load_settings

PROVIDER = Path(__file__).parent / "provider"
NODE = Path(__file__).parents[1] / "journeys" / "clients" / "node_modules" / ".bin" / "node"
CALLBACK = "http://127.0.0.1:33418/callback"
MOST_PAGES = 20


@dataclass(frozen=True)
class Apart:
    """The provider's issuer URL, and where the resource will be."""

    issuer: str
    base: str

    def settings(self, **changes: Any) -> Settings:
        """Ours, without any file."""
        return load_settings(None, base_uri=self.base, **changes)


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
            child.wait_until(lambda: answers(port, "/.well-known/openid-configuration"), 30)
            return Apart(f"http://localhost:{port}", base)

        yield started


@dataclass
class Kept:
    """What the official client keeps."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


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


async def _signed_in(base: str) -> tuple[httpx2.Response, Kept, Person]:
    """The official client's whole way: 401, metadata, registration, sign-in, token, and again."""
    kept, person = Kept(), Person()
    metadata = OAuthClientMetadata(
        redirect_uris=[CALLBACK], client_name="Probe", token_endpoint_auth_method="none", scope="mcp"
    )
    auth = OAuthClientProvider(f"{base}/mcp", metadata, kept, person.open, person.code)
    async with httpx2.AsyncClient(auth=auth, trust_env=False) as http:
        return await http.post(f"{base}/mcp"), kept, person


DIRECT = [
    ("jwt", "jwt"),
    ("jwt", "auto"),
    ("opaque", "introspection"),
    ("opaque", "auto"),
]


@pytest.mark.parametrize(("form", "validation"), DIRECT)
async def test_the_official_client_signs_in_there_and_is_known_here(
    form: str, validation: str, start_provider: Any, serve_resource: Any
) -> None:
    apart = start_provider(form)
    asking = {"introspection_client_id": "switchboard", "introspection_client_secret": "for tests only"}
    await serve_resource(
        apart.settings(auth_mode="separate", auth_server_url=apart.issuer, token_validation=validation, **asking)
    )
    answer, kept, _ = await _signed_in(apart.base)
    assert answer.status_code == 200, answer.text
    assert kept.tokens is not None
    assert kept.client is not None
    assert kept.tokens.access_token.count(".") == (2 if form == "jwt" else 0)
    said = {"subject": "alice", "client": kept.client.client_id, "scopes": ["mcp"], "issuer": apart.issuer}
    assert answer.json() == said


async def test_a_token_for_another_resource_of_the_same_provider_is_refused(
    start_provider: Any, serve_resource: Any
) -> None:
    apart = start_provider("jwt")
    common = {"auth_mode": "separate", "auth_server_url": apart.issuer, "token_validation": "jwt"}
    await serve_resource(apart.settings(**common))
    _, kept, _ = await _signed_in(apart.base)
    other = Apart(apart.issuer, f"http://localhost:{free_port()}")
    await serve_resource(other.settings(**common))
    async with httpx2.AsyncClient(trust_env=False) as http:
        headers = {"Authorization": f"Bearer {kept.tokens.access_token if kept.tokens else ''}"}
        assert (await http.post(f"{apart.base}/mcp", headers=headers)).status_code == 200
        assert (await http.post(f"{other.base}/mcp", headers=headers)).status_code == 401


async def test_as_upstream_it_signs_people_in_and_the_tokens_are_ours(start_provider: Any, serve_resource: Any) -> None:
    apart = start_provider("jwt")
    known = {"upstream_client_id": "switchboard", "upstream_client_secret": "for tests only"}
    await serve_resource(apart.settings(upstream="oidc", upstream_issuer=apart.issuer, **known))
    answer, kept, person = await _signed_in(apart.base)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["subject"], answer.json()["issuer"]) == ("alice", apart.base)
    consent = person.pages.index(f"{apart.base}/consent")
    assert consent < person.pages.index(f"{apart.issuer}/auth")
    assert kept.client is not None
    assert answer.json()["client"] == kept.client.client_id
