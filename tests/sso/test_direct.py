"""AUTH.md, a corporate SSO: direct. Every block of docs/sso.md against an issuer with that provider's habits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from joserfc.jwk import RSAKey

TENANT, APPLICATION = "00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"
POOL_CLIENT, PROGRAM = "0" * 25, "22222222-2222-2222-2222-222222222222"
MCP = "https://mcp.example.com/mcp"
NO_S256 = ("code_challenge_methods_supported", "registration_endpoint", "introspection_endpoint")


@dataclass(frozen=True)
class Provider:
    """How a provider writes its tokens. `wrong` are claims that make one of them not for us."""

    path: str
    claims: Mapping[str, Any]
    who: tuple[str, str, list[str]]
    wrong: Mapping[str, Any]
    header: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


PROVIDERS = {
    "generic-direct": Provider(
        "",
        {"aud": MCP, "client_id": "desk", "scope": "openid mcp", "sub": "g-1"},
        ("g-1", "desk", ["mcp", "openid"]),
        {"aud": "https://other.example", "token_use": "id"},
    ),
    "keycloak": Provider(
        "/realms/staff",
        {"aud": [MCP, "account"], "azp": "desk", "typ": "Bearer", "scope": "openid mcp", "sub": "k-1"},
        ("k-1", "desk", ["mcp", "openid"]),
        {"aud": "account", "typ": "ID"},
    ),
    "okta": Provider(
        "/oauth2/aus000000000000000",
        {"aud": "api://switchboard", "cid": "0oa1", "uid": "00u1", "sub": "ann@corp.example", "scp": ["mcp", "openid"]},
        ("00u1", "0oa1", ["mcp", "openid"]),
        {"aud": "https://org.okta.com", "uid": None},
    ),
    "auth0": Provider(
        "/",
        {"aud": [MCP, "https://t/userinfo"], "azp": "a0", "scope": "openid", "permissions": ["mcp"], "sub": "auth0|1"},
        ("auth0|1", "a0", ["mcp", "openid"]),
        {"aud": "https://t/userinfo"},
        {"typ": "at+jwt"},
    ),
    "entra-direct": Provider(
        f"/{TENANT}/v2.0",
        {
            "aud": APPLICATION,
            "azp": PROGRAM,
            "oid": "o-1",
            "tid": TENANT,
            "ver": "2.0",
            "scp": "Mcp.Use",
            "roles": ["R"],
        },
        ("o-1", PROGRAM, ["R", "mcp"]),
        {"aud": "00000003-0000-0000-c000-000000000000", "tid": APPLICATION, "ver": "1.0", "oid": None, "azp": "x"},
        {"x5t": "thumb"},
        NO_S256,
    ),
    "cognito-direct": Provider(
        "/eu-central-1_000000000",
        {"client_id": POOL_CLIENT, "token_use": "access", "scope": "https://mcp.example.com/mcp openid", "sub": "c-1"},
        ("c-1", POOL_CLIENT, ["mcp", "openid"]),
        {"client_id": "somebody-elses", "token_use": "id", "aud": "https://other.example"},
        {},
        NO_S256,
    ),
}
WRONG = [(name, claim) for name, provider in PROVIDERS.items() for claim in provider.wrong]


@pytest.fixture
async def at(start_issuer: Any, block: Any, resource: Any) -> Any:
    """`await at(name)`: the provider, its issuer, and our endpoint that is set up by the page's block."""

    async def start(name: str) -> tuple[Provider, Any, Any]:
        provider = PROVIDERS[name]
        issuer = await start_issuer(path=provider.path, without=provider.without)
        return provider, issuer, await resource(block(name, issuer))

    return start


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_token_as_the_provider_writes_it_is_accepted(name: str, at: Any, ask: Any) -> None:
    provider, issuer, http = await at(name)
    status, who = await ask(http, issuer.token(header=provider.header, **provider.claims))
    assert (status, who["issuer"]) == (200, issuer.url)
    assert (who["subject"], who["client"], who["scopes"]) == provider.who


@pytest.mark.parametrize(("name", "claim"), WRONG)
async def test_a_token_that_is_not_for_us_is_refused(name: str, claim: str, at: Any, ask: Any) -> None:
    provider, issuer, http = await at(name)
    claims = {**provider.claims, claim: provider.wrong[claim]}
    status, _ = await ask(http, issuer.token(header=provider.header, **claims))
    assert status == 401


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_token_of_somebody_else_is_refused(name: str, at: Any, ask: Any) -> None:
    provider, issuer, http = await at(name)
    foreign = RSAKey.generate_key(2048, {"kid": "one"})
    slash = issuer.url[:-1] if issuer.url.endswith("/") else f"{issuer.url}/"
    refused = [
        issuer.token(key=foreign, **provider.claims),
        issuer.token(**{**provider.claims, "iss": slash}),
        issuer.token(**{**provider.claims, "exp": 1_700_000_000}),
        issuer.token(**{**provider.claims, "exp": None}),
        "an-opaque-token",
    ]
    assert [(await ask(http, token))[0] for token in refused] == [401] * len(refused)


async def test_an_id_token_with_the_same_audience_is_refused(at: Any, ask: Any) -> None:
    """AUTH.md row 4. Entra ID's names the application, as an access token for it does, but no client."""
    provider, issuer, http = await at("entra-direct")
    claims = {**provider.claims, "azp": None, "scp": None, "nonce": "n"}
    assert (await ask(http, issuer.token(**claims)))[0] == 401


async def test_clients_are_told_the_issuer_and_to_ask_for_scopes_by_its_names(at: Any) -> None:
    _, issuer, http = await at("entra-direct")
    metadata = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert metadata["authorization_servers"] == [issuer.url]
    assert (metadata["resource"], metadata["scopes_supported"]) == (MCP, ["Mcp.Use"]), "administration is not offered"
    assert 'scope="Mcp.Use"' in (await http.post("/mcp")).headers["www-authenticate"]


async def test_the_slash_at_the_end_of_an_issuer_is_kept(at: Any) -> None:
    _, issuer, http = await at("auth0")
    metadata = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert metadata["authorization_servers"] == [issuer.url]
    assert issuer.url.endswith("/")


async def test_opaque_tokens_are_asked_about(start_issuer: Any, block: Any, resource: Any, ask: Any) -> None:
    issuer = await start_issuer(path="/realms/staff")
    good = {"active": True, "sub": "k-1", "azp": "desk", "aud": [MCP], "scope": "mcp", "iss": issuer.url}
    issuer.opaque |= {"good": good, "foreign": good | {"aud": ["account"]}, "ended": {"active": False}}
    http = await resource(block("keycloak-introspection", issuer))
    assert [(await ask(http, token))[0] for token in ("good", "foreign", "ended", "unknown")] == [200, 401, 401, 401]


@pytest.mark.parametrize(("without", "opaque"), [((), 200), (("introspection_endpoint",), 401)])
async def test_auto_goes_by_the_shape_of_the_token(
    start_issuer: Any, block: Any, resource: Any, ask: Any, without: tuple[str, ...], opaque: int
) -> None:
    issuer = await start_issuer(path="/realms/staff", without=without)
    issuer.opaque["good"] = {"active": True, "sub": "k-1", "aud": MCP, "typ": "Bearer"}
    http = await resource(block("keycloak", issuer, token_validation="auto"))
    assert (await ask(http, issuer.token(**PROVIDERS["keycloak"].claims)))[0] == 200
    assert (await ask(http, "good"))[0] == opaque
