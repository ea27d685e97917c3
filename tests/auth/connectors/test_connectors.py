"""People signed in elsewhere: at an OpenID provider, or at GitHub. Both are small real ones, reached by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from auth_server.settings import GithubSettings, OidcSettings
from switchboard.errors import ConfigurationError
from tests.auth.conftest import MakeWorld, World

SSO = "https://sso.example/realms/r"
NOW = 1_800_000_000
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Provider:
    """An OpenID provider where `person` is always signed in."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "sso"}))
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "s-1", "oid": "42", "groups": ["devs"], "sid": "x"})
    forged: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    status: int = 200
    error: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    logins: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh: int = 0

    async def metadata(self, request: Request) -> Response:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return JSONResponse({"issuer": SSO} | {name: f"{SSO}/{path}" for name, path in names.items()})

    async def jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        sent = dict(request.query_params)
        self.logins["code-1"] = sent
        return RedirectResponse(
            f"{sent['redirect_uri']}?{urlencode({'code': 'code-1', 'state': sent['state']} | self.extra)}"
        )

    async def token(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        self.asked.append(sent)
        if self.status != 200:
            return JSONResponse({"error": self.error}, self.status)
        if sent["grant_type"] == "refresh_token" and sent["refresh_token"] != f"sso-{self.refresh}":
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.refresh += 1
        nonce = {"nonce": self.logins["code-1"]["nonce"]} if sent["grant_type"] == "authorization_code" else {}
        answer = {"id_token": self.sign(nonce | self.forged), "refresh_token": f"sso-{self.refresh}"}
        return JSONResponse(answer | {"access_token": "opaque"})

    def sign(self, more: dict[str, Any], **header: Any) -> str:
        claims = {"iss": SSO, "aud": "broker", "exp": NOW + 600, "iat": NOW} | self.person | more
        return jwt.encode({"alg": "ES256", "kid": "sso"} | header, claims, self.key)

    def app(self) -> Starlette:
        path = "/realms/r"
        return Starlette(
            routes=[
                Route(f"{path}/.well-known/openid-configuration", self.metadata),
                Route(f"{path}/jwks", self.jwks),
                Route(f"{path}/authorize", self.authorize),
                Route(f"{path}/token", self.token, methods=["POST"]),
            ]
        )


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
async def web(provider: Provider) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=provider.app())) as http:
        yield http


def oidc(**changes: Any) -> OidcSettings:
    """How the broker knows the provider."""
    plain: dict[str, Any] = {"issuer": SSO, "client_id": "broker", "client_secret": "broker secret"}
    return OidcSettings(**(plain | changes))


@pytest.fixture
def sso(make_world: MakeWorld, web: httpx2.AsyncClient) -> Any:
    """The broker."""
    return make_world(upstream=oidc(), http=web)


async def come_back(world: World, web: httpx2.AsyncClient, client: Any, pkce: Any, **changes: Any) -> dict[str, str]:
    """Consent, the provider's login, and what the client is told."""
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, pkce, **changes))
        left = await http.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})
        back = await web.get(left.headers["location"])
        response = await http.get(back.headers["location"])
    found: dict[str, str] = world.query(response.headers["location"])
    return found


async def sign_in(world: World, web: httpx2.AsyncClient, **changes: Any) -> dict[str, Any]:
    """Tokens of somebody signed in at the provider."""
    client, pkce = await world.register(), world.pkce()
    back = await come_back(world, web, client, pkce, **changes)
    tokens: dict[str, Any] = (await world.redeem(client, back["code"], pkce)).json()
    return tokens | {"client": client}


async def test_a_person_of_the_provider_gets_tokens_of_ours(sso: Any, web: Any, provider: Provider) -> None:
    """AUTH.md, a corporate SSO: broker."""
    tokens = await sign_in(sso, web)

    claims = await sso.server.introspect_token(tokens["access_token"])
    assert (claims["iss"], claims["sub"]) == ("http://localhost:3001", "s-1")
    asked = provider.logins["code-1"]
    assert asked["redirect_uri"] == "http://localhost:3001/upstream/callback"
    assert asked["code_challenge_method"] == "S256"
    assert "resource" not in asked
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


@pytest.mark.parametrize(
    "forged",
    [
        {"nonce": "another"},
        {"aud": "somebody else"},
        {"aud": ["broker", "somebody else"]},
        {"iss": "https://other.example"},
        {"exp": NOW - 100},
        {"sub": None},
        {"sub": "client:machine"},
        {"sub": "x" * 300},
    ],
)
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_id_token_that_is_not_quite_right_signs_nobody_in(
    sso: Any, web: Any, provider: Provider, forged: dict[str, Any]
) -> None:
    provider.forged = forged
    back = await come_back(sso, web, await sso.register(), sso.pkce())

    assert back["error"] == "server_error"
    assert "code" not in back


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_answer_that_names_another_issuer_signs_nobody_in(sso: Any, web: Any, provider: Provider) -> None:
    """AUTH.md attacks: upstream callback with a wrong iss."""
    provider.extra = {"iss": "https://evil.example"}

    assert (await come_back(sso, web, await sso.register(), sso.pkce()))["error"] == "server_error"


async def test_the_subject_claim_and_groups_are_as_configured(
    make_world: MakeWorld, web: Any, provider: Provider
) -> None:
    """AUTH.md row 8 and SSO: groups claim to scopes."""
    groups = {"devs": ("mcp", "admin"), "*": ("mcp",)}
    world = make_world(upstream=oidc(subject_claim="oid", group_scopes=groups), http=web)
    dev = await sign_in(world, web, scope="mcp admin")
    provider.person["groups"] = ["sales"]
    seller = await sign_in(world, web, scope="mcp admin")
    nothing = await come_back(world, web, await world.register(), world.pkce(), scope="admin")

    assert (dev["scope"], seller["scope"]) == ("mcp admin", "mcp")
    assert nothing["error"] == "access_denied"
    claims = await world.claims(dev["access_token"])
    assert claims["sub"] == "42"


async def test_the_provider_is_asked_again_at_every_refresh(sso: Any, web: Any, provider: Provider) -> None:
    """AUTH.md row 28."""
    tokens = await sign_in(sso, web)
    second = (await sso.refresh(tokens["client"], tokens["refresh_token"])).json()
    third = await sso.refresh(tokens["client"], second["refresh_token"])

    assert third.status_code == 200
    assert [sent.get("refresh_token") for sent in provider.asked] == [None, "sso-1", "sso-2"]


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_what_the_provider_signed_about_a_person_is_handed_on_at_sign_in_and_refresh(
    make_world: MakeWorld, web: Any, provider: Provider
) -> None:
    kept: list[tuple[str, str]] = []

    async def keep(subject: str, id_token: str) -> None:
        kept.append((subject, id_token))

    world = make_world(upstream=oidc(subject_claim="oid"), http=web, keep_id_token=keep)
    provider.forged = {"nonce": "another"}
    await come_back(world, web, await world.register(), world.pkce())
    assert kept == [], "not one that is not right"

    provider.forged = {}
    tokens = await sign_in(world, web)
    await world.refresh(tokens["client"], tokens["refresh_token"])
    assert [subject for subject, _ in kept] == ["42", "42"]
    assert {jwt.decode(token, provider.key).claims["sub"] for _, token in kept} == {"s-1"}
    assert len({token for _, token in kept}) == 2


async def test_somebody_who_left_keeps_nothing(sso: Any, web: Any, provider: Provider) -> None:
    """AUTH.md row 28."""
    tokens = await sign_in(sso, web)
    provider.status, provider.error = 400, "invalid_grant"

    response = await sso.refresh(tokens["client"], tokens["refresh_token"])

    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert await sso.server.introspect_token(tokens["access_token"]) is None


@pytest.mark.parametrize(("status", "error"), [(503, ""), (500, ""), (429, ""), (401, "invalid_client")])
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_provider_in_trouble_costs_nobody_their_login(
    sso: Any, web: Any, provider: Provider, status: int, error: str
) -> None:
    """AUTH.md row 28, row 6: not knowing is not a refusal."""
    tokens = await sign_in(sso, web)
    provider.status, provider.error = status, error
    assert (await sso.refresh(tokens["client"], tokens["refresh_token"])).status_code == 503
    provider.status = 200

    assert (await sso.refresh(tokens["client"], tokens["refresh_token"])).status_code == 200


async def test_many_refreshes_at_once_ask_the_provider_once(
    make_world: MakeWorld, web: Any, provider: Provider
) -> None:
    """AUTH.md rows 28 and 30, over two workers."""
    worlds = [make_world(upstream=oidc(), http=web) for _ in range(2)]
    tokens = await sign_in(worlds[0], web)

    answers = await asyncio.gather(
        *(worlds[n % 2].refresh(tokens["client"], tokens["refresh_token"]) for n in range(10))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len(provider.asked) == 2


async def test_losing_a_group_narrows_the_next_token(make_world: MakeWorld, web: Any, provider: Provider) -> None:
    """AUTH.md row 28."""
    groups = {"devs": ("mcp", "admin"), "*": ("mcp",)}
    world = make_world(upstream=oidc(group_scopes=groups), http=web)
    tokens = await sign_in(world, web, scope="mcp admin")
    provider.person["groups"] = []

    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).json()["scope"] == "mcp"


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_groups_may_be_nested_and_are_those_of_the_latest_answer(
    make_world: MakeWorld, web: Any, provider: Provider
) -> None:
    groups = {"devs": ("mcp", "admin"), "*": ("mcp",)}
    provider.person |= {"realm": {"roles": ["devs"]}, "who": {"id": "p-7"}}
    world = make_world(upstream=oidc(subject_claim="who.id", groups_claim="realm.roles", group_scopes=groups), http=web)
    tokens = await sign_in(world, web, scope="mcp admin")
    assert tokens["scope"] == "mcp admin"
    assert (await world.claims(tokens["access_token"]))["sub"] == "p-7"
    provider.person["realm"] = {"roles": []}

    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).json()["scope"] == "mcp"


def logout_token(provider: Provider, **changes: Any) -> str:
    """A logout token, good unless changed."""
    claims = {"sub": None, "sid": None, "oid": None, "groups": None, "jti": "l-1", "events": {LOGOUT: {}}} | changes
    full = {"iss": SSO, "aud": "broker", "exp": NOW + 60, "iat": NOW} | claims
    kept = {name: value for name, value in full.items() if value is not None}
    return jwt.encode({"alg": "ES256", "kid": "sso", "typ": "logout+jwt"}, kept, provider.key)


async def log_out(world: World, token: str) -> Any:
    """The provider's call."""
    async with world.browser() as http:
        return await http.post("/upstream/logout", data={"logout_token": token})


@pytest.mark.parametrize("named", [{"sub": "s-1"}, {"sid": "x"}, {"sub": "s-1", "sid": "x"}])
async def test_a_logout_at_the_provider_ends_what_the_login_gave(
    sso: Any, web: Any, provider: Provider, named: dict[str, str]
) -> None:
    """AUTH.md row 28: back-channel logout."""
    tokens = await sign_in(sso, web)
    provider.person |= {"sub": "s-2", "sid": "y"}
    others = await sign_in(sso, web)

    assert (await log_out(sso, logout_token(provider, **named))).status_code == 200

    assert await sso.server.introspect_token(tokens["access_token"]) is None
    assert (await sso.refresh(tokens["client"], tokens["refresh_token"])).status_code == 400
    assert await sso.server.introspect_token(others["access_token"])


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"events": {"other": {}}},
        {"nonce": "n"},
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"jti": None},
        {"exp": NOW - 100},
        {"sub": None},
    ],
)
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_logout_token_that_is_not_quite_right_ends_nothing(
    sso: Any, web: Any, provider: Provider, changes: dict[str, Any]
) -> None:
    """AUTH.md row 28."""
    tokens = await sign_in(sso, web)

    response = await log_out(sso, logout_token(provider, **({"sub": "s-1"} | changes)))

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert await sso.server.introspect_token(tokens["access_token"])


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_provider_that_cannot_be_found_is_a_page_that_says_try_again(make_world: MakeWorld) -> None:
    nowhere = Starlette()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=nowhere)) as http:
        world = make_world(upstream=oidc(), http=http)
        client = await world.register()
        async with world.browser() as browser:
            page = await browser.get("/authorize", params=world.question(client, world.pkce()))
            left = await browser.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})

    assert left.status_code == 503
    assert left.headers["content-type"].startswith("text/html")


def test_an_upstream_needs_a_way_to_reach_it(make_world: MakeWorld) -> None:
    with pytest.raises(ConfigurationError):
        make_world(upstream=oidc())


@dataclass
class Hub:
    """A GitHub."""

    status: int = 200
    tokens: dict[str, str] = field(default_factory=lambda: {"access_token": "gho_1"})

    async def access_token(self, request: Request) -> Response:
        return JSONResponse(self.tokens)

    async def user(self, request: Request) -> Response:
        known = request.headers["authorization"] == "Bearer gho_1"
        return JSONResponse({"id": 583231, "login": "octocat"}, self.status if known else 401)

    async def authorize(self, request: Request) -> Response:
        sent = request.query_params
        return RedirectResponse(f"{sent['redirect_uri']}?{urlencode({'code': 'c', 'state': sent['state']})}")

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/login/oauth/authorize", self.authorize),
                Route("/login/oauth/access_token", self.access_token, methods=["POST"]),
                Route("/user", self.user),
            ]
        )


async def test_a_person_of_github_is_known_by_number_and_asked_about_at_refresh(make_world: MakeWorld) -> None:
    """AUTH.md rows 8 and 28."""
    hub = Hub()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=hub.app())) as web:
        world = make_world(upstream=GithubSettings(client_id="i", client_secret="s"), http=web)
        tokens = await sign_in(world, web)
        claims = await world.claims(tokens["access_token"])
        assert claims["sub"] == "583231"

        hub.status = 403
        busy = await world.refresh(tokens["client"], tokens["refresh_token"])
        hub.status = 401
        gone = await world.refresh(tokens["client"], tokens["refresh_token"])

    assert (busy.status_code, gone.status_code) == (503, 400)
    assert await world.server.introspect_token(tokens["access_token"]) is None


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_code_that_github_does_not_take_signs_nobody_in(make_world: MakeWorld) -> None:
    hub = Hub(tokens={"error": "bad_verification_code"})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=hub.app())) as web:
        world = make_world(upstream=GithubSettings(client_id="i", client_secret="s"), http=web)
        back = await come_back(world, web, await world.register(), world.pkce())

    assert back["error"] == "server_error"
