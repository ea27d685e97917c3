"""ID-JAG: a company's identity provider vouches for a person and a client (enterprise-managed authorization)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from auth_server import StaticClient
from auth_server.settings import TrustedIssuer

KEY = ECKey.generate_key("P-256", {"kid": "idp-1"})
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
IDP = "https://idp.example"
RESOURCE = "http://localhost:3232/mcp"
AGENT = StaticClient(id="agent", secret="agent secret", grant_types=(GRANT,), scope="mcp:tools mcp:prompts")


@pytest.fixture
def company(make_world: Any, fetcher: Any, site: Any) -> Any:
    """A server that takes the assertions of a provider, whose keys are found on the small https site."""
    site.body = json.dumps({"keys": [KEY.as_dict(private=False)]}).encode()
    trusted = TrustedIssuer(issuer=IDP, jwks_uri=f"https://app.example:{site.port}/jwks")
    return make_world(clients=(AGENT,), trusted_issuers=(trusted,), fetcher=fetcher)


def assertion(key: Any = KEY, header: Any = None, **changes: Any) -> str:
    """An ID-JAG, good unless changed."""
    claims = {
        "iss": IDP,
        "sub": "u-17",
        "aud": "http://localhost:3001",
        "client_id": "agent",
        "resource": RESOURCE,
        "scope": "mcp:tools",
        "exp": 1_800_000_300,
        "iat": 1_800_000_000,
        "jti": "jag-1",
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": "ES256", "kid": "idp-1", "typ": "oauth-id-jag+jwt"} | (header or {})
    return jws.serialize_compact(head, json.dumps(kept), key)


async def ask(world: Any, made: str, **more: Any) -> Any:
    """A token request with an assertion."""
    return await world.token({"grant_type": GRANT, "assertion": made} | more, auth=("agent", "agent secret"))


async def test_an_assertion_gives_a_token_for_the_person_and_counts_once(company: Any) -> None:
    """AUTH.md row 25."""
    made = assertion()

    first, again = await ask(company, made), await ask(company, made)

    claims = await company.server.introspect_token(first.json()["access_token"])
    assert (claims["sub"], claims["aud"], claims["scope"]) == (f"{IDP}#u-17", RESOURCE, "mcp:tools")
    assert "refresh_token" not in first.json()
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"header": {"typ": "JWT"}}, "invalid_grant"),
        ({"header": {"typ": "at+jwt"}}, "invalid_grant"),
        ({"iss": "https://other.example"}, "invalid_grant"),
        ({"aud": "http://localhost:3001/token"}, "invalid_grant"),
        ({"aud": RESOURCE}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"client_id": None}, "invalid_grant"),
        ({"sub": None}, "invalid_grant"),
        ({"resource": None}, "invalid_grant"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"exp": 1_799_999_000}, "invalid_grant"),
        ({"jti": None}, "invalid_grant"),
        ({"jti": "half a \ud800 pair"}, "invalid_grant"),
        ({"sub": "half a \ud800 pair"}, "invalid_grant"),
        ({"exp": float("nan")}, "invalid_grant"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"key": ECKey.generate_key("P-256")}, "invalid_grant"),
    ],
)
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_assertion_that_is_not_quite_right_gives_nothing(
    company: Any, changes: dict[str, Any], error: str
) -> None:
    """AUTH.md row 25: typ, aud, client_id and resource are checked."""
    response = await ask(company, assertion(**changes))

    assert (response.status_code, response.json()["error"]) == (400, error)


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_provider_that_rotated_its_keys_is_looked_up_again_but_not_by_every_forgery(
    company: Any, site: Any
) -> None:
    await ask(company, assertion())
    new = ECKey.generate_key("P-256", {"kid": "idp-2"})
    site.body = json.dumps({"keys": [new.as_dict(private=False)]}).encode()
    forged = assertion(key=ECKey.generate_key("P-256"), header={"kid": "nowhere"}, jti="jag-2")
    for _ in range(5):
        await ask(company, forged)
    assert len(site.requests) == 1, "within 30 seconds an unknown key id does not make us look again"
    company.clock.pass_(31)

    rotated = await ask(company, assertion(key=new, header={"kid": "idp-2"}, jti="jag-3"))

    assert rotated.status_code == 200
    assert len(site.requests) == 2


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_provider_whose_keys_cannot_be_had_is_try_again_and_not_invalid(company: Any, site: Any) -> None:
    """AUTH.md row 6."""
    site.status = "500 Down"

    response = await ask(company, assertion())

    assert response.status_code == 503
    assert response.headers["retry-after"]
