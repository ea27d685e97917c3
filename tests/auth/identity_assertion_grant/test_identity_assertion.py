"""ID-JAG: a company's identity provider vouches for a person and a client (enterprise-managed authorization)."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from auth_server import StaticClient
from auth_server.settings import OidcSettings, TrustedIssuer
from tests.auth.conftest import MakeWorld, Site, World

KEY = ECKey.generate_key("P-256", {"kid": "idp-1"})
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
IDP = "https://idp.example"
RESOURCE = "http://localhost:3232/mcp"
AGENT = StaticClient(id="agent", secret="agent secret", grant_types=(GRANT,), scope="mcp:tools mcp:prompts")


@pytest.fixture
def company(make_world: MakeWorld, fetcher: Any, site: Site) -> Any:
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


async def ask(world: World, made: str, **more: Any) -> Any:
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
        ({"scope": ["mcp:tools"]}, "invalid_grant"),
        ({"scope": {"mcp:tools": True}}, "invalid_grant"),
        ({"scope": 7}, "invalid_grant"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"sub": ""}, "invalid_grant"),
        ({"sub": ["u-17"]}, "invalid_grant"),
        ({"sub": "x" * 256}, "invalid_grant"),
        ({"sub": "x" * 5000}, "invalid_grant"),
        ({"sub": "ali\u200bce"}, "invalid_grant"),
        ({"sub": "alice\n"}, "invalid_grant"),
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


@pytest.mark.parametrize("expires", [1_799_999_970, 1_800_000_300])
async def test_an_assertion_is_remembered_until_it_could_not_be_used_again(company: Any, expires: int) -> None:
    """It is taken for a minute longer than it says, since clocks differ, and that long it cannot be replayed."""
    await ask(company, assertion(exp=expires))

    [name] = await company.redis.keys("auth:once:*")
    usable_ms = (expires + 60 - company.clock()) * 1000
    assert usable_ms - 5_000 < await company.redis.pttl(name) <= usable_ms


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_client_that_cannot_prove_who_it_is_gets_nothing_for_an_assertion(make_company: Any) -> None:
    company = make_company(clients=(StaticClient(id="agent", grant_types=(GRANT,), scope="mcp:tools"),))

    answer = await company.token({"grant_type": GRANT, "assertion": assertion(), "client_id": "agent"})

    assert answer.json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_provider_that_rotated_its_keys_is_looked_up_again_but_not_by_every_forgery(
    company: Any, site: Site
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
async def test_a_provider_whose_keys_cannot_be_had_is_try_again_and_not_invalid(company: Any, site: Site) -> None:
    """AUTH.md row 6."""
    site.status = "500 Down"

    response = await ask(company, assertion())

    assert response.status_code == 503
    assert response.headers["retry-after"]


BROAD = StaticClient(id="agent", secret="agent secret", grant_types=(GRANT,), scope="mcp mcp:tools admin")


@pytest.fixture
def make_company(make_world: MakeWorld, fetcher: Any, site: Site) -> Any:
    """A company whose agent may have any scope, with other settings than usual."""
    site.body = json.dumps({"keys": [KEY.as_dict(private=False)]}).encode()

    def make(same_people: bool = True, **changes: Any) -> Any:
        address = f"https://app.example:{site.port}/jwks"
        trusted = TrustedIssuer(issuer=IDP, jwks_uri=address, same_people=same_people)
        machine = StaticClient(id="gw", secret="gw secret", scope="mcp")
        plain = {"clients": (BROAD, machine), "trusted_issuers": (trusted,), "fetcher": fetcher, "admins": ("root",)}
        return make_world(**(plain | changes))

    return make


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("subject", "asked", "granted"),
    [
        ("u-17", None, "mcp"),
        ("root", None, "mcp"),
        ("u-17", "mcp:tools admin", "mcp:tools"),
        ("root", "mcp:tools admin", "mcp:tools admin"),
    ],
)
async def test_a_provider_widens_nothing_by_what_it_leaves_out_and_makes_no_administrators(
    make_company: Any, subject: str, asked: str | None, granted: str
) -> None:
    answer = (await ask(make_company(), assertion(sub=subject, scope=asked))).json()

    assert answer["scope"] == granted


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_scope_that_is_null_is_refused(make_company: Any) -> None:
    claims = {"iss": IDP, "sub": "u", "aud": "http://localhost:3001", "client_id": "agent", "resource": RESOURCE}
    lives = {"exp": 1_800_000_300, "jti": "jag-null", "scope": None}
    head = {"alg": "ES256", "kid": "idp-1", "typ": "oauth-id-jag+jwt"}
    made = jws.serialize_compact(head, json.dumps(claims | lives), KEY)

    assert (await ask(make_company(), made)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_groups_decide_for_the_same_people_here_too(make_company: Any) -> None:
    sso = OidcSettings(
        issuer=IDP, client_id="i", client_secret="s", group_scopes={"staff": ("mcp:tools",), "ops": ("admin",)}
    )
    async with httpx2.AsyncClient() as http:
        world = make_company(upstream=sso, http=http)
        asked = "mcp mcp:tools admin"
        staff = await ask(world, assertion(scope=asked, groups=["staff"], jti="1"))
        operator = await ask(world, assertion(scope=asked, groups=["staff", "ops"], jti="2"))
        nobody = await ask(world, assertion(scope=asked, groups=7, jti="3"))

    assert (staff.json()["scope"], operator.json()["scope"]) == ("mcp:tools", "mcp:tools admin")
    assert nobody.json()["error"] == "invalid_scope"


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
@pytest.mark.parametrize("same_people", [True, False])
async def test_nobody_is_called_like_a_machine_or_like_another_providers_people(
    make_company: Any, same_people: bool
) -> None:
    world = make_company(same_people)
    machine = await world.token({"grant_type": "client_credentials"}, auth=("gw", "gw secret"))
    subject = (await world.server.introspect_token(machine.json()["access_token"]))["sub"]
    assert subject == "client:gw"

    answers = [await ask(world, assertion(sub=name, jti=name)) for name in ("client:gw", f"{IDP}#u-17")]

    if same_people:
        assert [answer.json()["error"] for answer in answers] == ["invalid_grant"] * 2
    else:
        found = [await world.server.introspect_token(answer.json()["access_token"]) for answer in answers]
        assert [claims["sub"] for claims in found] == [f"{IDP}#client:gw", f"{IDP}#{IDP}#u-17"]


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_assertion_that_is_bound_to_a_key_is_refused_and_says_so(company: Any) -> None:
    """RFC 7800: without the proof of its key it may be a stolen one."""
    answer = await ask(company, assertion(cnf={"jkt": "x"}))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert "bound to a key" in answer.json()["error_description"]
