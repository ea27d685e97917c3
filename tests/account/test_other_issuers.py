"""Signing in where another process, or a company's own server, issues the tokens of MCP clients."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from auth_server import AuthorizationServer, AuthSettings
from switchboard.state import open_state
from switchboard.vault import RecordKey
from tests.account.conftest import House, OpenHouse
from tests.sessions.conftest import KEY
from tests.sso.conftest import Issuer
from tools.fleet.children import free_port
from tools.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Apart:
    """Our authorization server in a process of its own, or as good as that."""

    server: AuthorizationServer
    settings: dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module")
async def apart(redis_url: str) -> AsyncIterator[Apart]:
    port, mine = free_port(), free_port()
    issuer, base = f"http://localhost:{port}", f"http://localhost:{mine}"
    told = AuthSettings(issuer=issuer, resources=(f"{base}/mcp", f"{base}/sse"), secret_keys=(KEY,))
    async with open_state(redis_url, prefix="apart:") as state:
        server = AuthorizationServer.over(told, state, None)
        async with serving(server.app(), port=port, lifespan="off"):
            yield Apart(server, {"auth_mode": "separate", "auth_server_url": issuer, "base_uri": base, "port": mine})


async def open_apart(open_house: OpenHouse, apart: Apart) -> House:
    """Two workers whose issuer is the one apart."""
    return await open_house(2, base_uri=apart.settings["base_uri"], **_without_base(apart.settings))


def _without_base(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("base_uri", "port")}


async def test_this_server_registers_itself_at_our_issuer_apart_once_for_the_fleet(
    open_house: OpenHouse, apart: Apart
) -> None:
    house = await open_apart(open_house, apart)
    async with house.browser("alice") as alice, house.browser("bob") as bob:
        page = await alice.get("/connections")
        bob.worker = 1
        other = await bob.get("/connections")

    assert "Signed in as <bdi>alice</bdi>" in page.text
    assert "Signed in as <bdi>bob</bdi>" in other.text
    redis = house.workers[0].app.rooms.state.redis
    assert len([key async for key in redis.scan_iter("apart:auth:client:*")]) == 1


async def test_a_person_connects_where_the_issuer_is_apart_and_is_whom_its_tokens_name(
    open_house: OpenHouse, apart: Apart, mcp_token: Any
) -> None:
    house = await open_apart(open_house, apart)
    async with house.browser("alice") as alice:
        assert "is connected" in (await alice.connect()).text
        token = await mcp_token(house, "alice")
        listed = await alice.send("GET", "/api/auth/credentials", headers={"Authorization": f"Bearer {token}"})

    assert listed.json()["connections"][0]["state"] == "connected"


async def test_a_registration_that_the_issuer_dropped_is_made_anew(open_house: OpenHouse, apart: Apart) -> None:
    house = await open_apart(open_house, apart)
    async with house.browser("alice") as alice:
        left = await alice.get("/connections", until="/account/callback")
        record = await house.of(0).vault.get(RecordKey("gateway", "client"), purpose="test")
        assert record is not None
        await apart.server.forget(record.value["client_id"])
        page = await alice.get(left.headers["location"])
        assert page.status_code == 502
        again = await alice.get("/connections")

    assert "Signed in as <bdi>alice</bdi>" in again.text


async def test_an_issuer_that_is_away_is_a_page_that_says_so(open_house: OpenHouse) -> None:
    away = f"http://localhost:{free_port()}"
    house = await open_house(1, auth_mode="separate", auth_server_url=away)
    async with house.browser("alice") as alice:
        page = await alice.get("/connections")

    assert page.status_code == 503
    assert "You are not signed in" in page.text
    assert "Retry-After" in page.headers


@dataclass
class Sso(Issuer):
    """A company's server: it knows one client, and its access tokens are JWTs."""

    audience: str = ""

    async def exchange(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        if sent.get("client_secret") != "s3cret" and not request.headers.get("authorization", "").startswith("Basic "):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.asked[int(sent["code"].removeprefix("code-"))]
        token = self.token(
            sub="e-1", aud=self.audience, azp=asked["client_id"], scope=asked["scope"], exp=int(time.time()) + 300
        )
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": 300})


@pytest_asyncio.fixture(loop_scope="module")
async def sso() -> AsyncIterator[Sso]:
    issuer = Sso()
    async with serving(issuer.app(), lifespan="off") as server:
        issuer.origin = server.url
        yield issuer


async def test_a_companys_own_server_signs_people_in_by_the_client_of_the_settings(
    open_house: OpenHouse, sso: Sso
) -> None:
    house = await open_house(
        1,
        auth_mode="separate",
        auth_server_url=sso.url,
        token_validation="jwt",
        client_claims=("azp",),
        scope_map={"api.use": "mcp"},
        sign_in_client_id="this-server",
        sign_in_client_secret="s3cret",
    )
    sso.audience = f"{house.base}/mcp"
    async with house.browser() as person:
        page = await person.get("/connections")
        assert "Signed in as <bdi>e-1</bdi>" in page.text
        assert "is connected" in (await person.connect()).text

    (asked,) = sso.asked
    assert (asked["client_id"], asked["scope"]) == ("this-server", "api.use")
    assert asked["resource"] == f"{house.base}/mcp"
    accounts = house.of(0).connectables.find("tracker").accounts
    assert (await accounts.status(f'["{sso.url}", "e-1"]')).state == "connected"


async def test_a_token_that_would_not_pass_at_the_mcp_endpoint_signs_nobody_in(open_house: OpenHouse, sso: Sso) -> None:
    house = await open_house(
        1,
        auth_mode="separate",
        auth_server_url=sso.url,
        token_validation="jwt",
        sign_in_client_id="this-server",
        sign_in_client_secret="s3cret",
    )
    sso.audience = "https://another.example"
    async with house.browser() as person:
        page = await person.get("/connections")

    assert page.status_code == 502
    assert "You cannot be signed in here" in page.text
    assert not [each for each in person.http.cookies.jar if "session" in each.name]
