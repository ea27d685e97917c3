"""AUTH.md, a corporate SSO: broker, inside Switchboard. Sign-in at the SSO, tokens of our own."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from switchboard.errors import ConfigurationError
from switchboard.settings import load_settings

MCP = "https://mcp.example.com/mcp"
CALLBACK = "http://127.0.0.1:33418/callback"
TENANT = "00000000-0000-0000-0000-000000000000"
NO_S256 = ("code_challenge_methods_supported", "registration_endpoint", "introspection_endpoint")


@dataclass(frozen=True)
class Provider:
    """What a provider's ID token says of a person who may come in, and of one who may not."""

    path: str
    person: Mapping[str, Any]
    subject: str
    stranger: Mapping[str, Any] | None = None
    without: tuple[str, ...] = ()
    scopes: list[str] = field(default_factory=lambda: ["mcp"])


PROVIDERS = {
    "generic": Provider("", {"sub": "g-1", "groups": ["operators"]}, "g-1"),
    "keycloak-broker": Provider("/realms/staff", {"sub": "k-1", "groups": ["operators"], "typ": "ID"}, "k-1"),
    "okta-broker": Provider("/oauth2/aus000000000000000", {"sub": "00u1", "groups": ["mcp-users"]}, "00u1", {}),
    "auth0-broker": Provider("/", {"sub": "auth0|1"}, "auth0|1"),
    "entra": Provider(
        f"/{TENANT}/v2.0",
        {"sub": "pairwise", "oid": "o-1", "tid": TENANT, "roles": ["Mcp.User"], "ver": "2.0"},
        "o-1",
        {"roles": ["Other"]},
        NO_S256,
    ),
    "google": Provider("", {"sub": "1100", "hd": "example.com"}, "1100", {"hd": "evil.example"}, NO_S256[1:]),
    "cognito": Provider(
        "/eu-central-1_000000000",
        {"sub": "c-1", "cognito:groups": ["mcp-users"], "token_use": "id"},
        "c-1",
        {"cognito:groups": ["others"]},
        NO_S256,
    ),
}
STRANGERS = [name for name, provider in PROVIDERS.items() if provider.stranger is not None]


async def _come_back(http: httpx2.AsyncClient) -> tuple[dict[str, str], str, str]:
    """Register, consent, sign in at the SSO; what the client is told, its id, and its verifier."""
    registered = await http.post(
        "/register", json={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none", "client_name": "Desk"}
    )
    client, verifier = registered.json()["client_id"], secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"response_type": "code", "client_id": client, "redirect_uri": CALLBACK, "state": "s", "scope": "mcp"}
    asked |= {"code_challenge": challenge, "code_challenge_method": "S256", "resource": MCP}
    page = await http.get("/authorize", params=asked)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    left = await http.post("/consent", data=fields | {"decision": "allow"})
    async with httpx2.AsyncClient(trust_env=False) as sso:
        signed_in = await sso.get(left.headers["location"])
    back = await http.get(signed_in.headers["location"])
    return dict(parse_qsl(urlsplit(back.headers["location"]).query)), client, verifier


async def _token(http: httpx2.AsyncClient) -> str:
    back, client, verifier = await _come_back(http)
    form = {"grant_type": "authorization_code", "client_id": client, "redirect_uri": CALLBACK, "resource": MCP}
    answer = await http.post("/token", data=form | {"code": back["code"], "code_verifier": verifier})
    return str(answer.json()["access_token"])


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_person_of_the_provider_signs_in(
    name: str, start_issuer: Any, block: Any, resource: Any, ask: Any
) -> None:
    provider = PROVIDERS[name]
    issuer = await start_issuer(path=provider.path, person=provider.person, without=provider.without)
    settings = block(name, issuer)
    http = await resource(settings)
    status, who = await ask(http, await _token(http))
    assert (status, who["subject"], who["scopes"]) == (200, provider.subject, provider.scopes)
    assert who["issuer"] == "https://mcp.example.com"
    asked = issuer.asked[0]
    assert (asked["redirect_uri"], asked["code_challenge_method"]) == (
        "https://mcp.example.com/upstream/callback",
        "S256",
    )
    assert asked["scope"].split() == list(settings.upstream_scopes)
    assert "resource" not in asked


@pytest.mark.parametrize("name", STRANGERS)
async def test_a_person_whose_groups_allow_nothing_gets_nothing(
    name: str, start_issuer: Any, block: Any, resource: Any
) -> None:
    provider = PROVIDERS[name]
    group = provider.stranger or {"groups": []}
    issuer = await start_issuer(path=provider.path, person={**provider.person, **group}, without=provider.without)
    back, _, _ = await _come_back(await resource(block(name, issuer)))
    assert "code" not in back
    assert back["error"] == "access_denied"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_token_of_the_provider_itself_is_refused(
    name: str, start_issuer: Any, block: Any, resource: Any, ask: Any
) -> None:
    provider = PROVIDERS[name]
    issuer = await start_issuer(path=provider.path)
    http = await resource(block(name, issuer))
    assert (await ask(http, issuer.token(aud=MCP, scope="mcp", **provider.person)))[0] == 401


async def test_the_server_in_this_process_can_issue_jwts_and_know_clients(
    start_issuer: Any, block: Any, resource: Any, ask: Any
) -> None:
    issuer = await start_issuer(path="/")
    job = {"id": "job", "secret": "not a secret, but long enough for a test", "scope": "mcp:tools"}
    http = await resource(block("auth0-broker", issuer, access_tokens="jwt", auth_clients=[job]))
    form = {"grant_type": "client_credentials", "scope": "mcp:tools", "resource": MCP}
    answer = await http.post(
        "/token", data=form, auth=httpx2.BasicAuth("job", "not+a+secret%2C+but+long+enough+for+a+test")
    )
    token = answer.json()["access_token"]
    status, who = await ask(http, token)
    assert token.count(".") == 2
    assert (status, who["client"], who["scopes"]) == (200, "job", ["mcp:tools"])


@pytest.mark.parametrize("upstream", ["oidc", "github"])
def test_an_upstream_that_cannot_know_us_is_refused_at_once(upstream: str) -> None:
    with pytest.raises(ConfigurationError, match=f"UPSTREAM is {upstream}, but not set: .*UPSTREAM_CLIENT_SECRET"):
        load_settings(None, upstream=upstream, upstream_client_id="us")


def test_a_wrong_upstream_setting_shows_no_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None, auth_clients='[{"id": "job", "secret": "hush-hush"')
    assert "AUTH_CLIENTS" in str(caught.value)
    assert "hush" not in str(caught.value)
