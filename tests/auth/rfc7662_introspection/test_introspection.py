"""RFC 7662: for those who may ask."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.common.client_auth.by_secret import RESOURCE_SERVER, resource_server_secret
from tests.auth.conftest import MakeWorld, World

KEY = "test key, not a secret: 0123456789"


async def ask(world: World, token: str, auth: tuple[str, str] | None, **data: Any) -> Any:
    """An introspection request."""
    async with world.browser() as http:
        options: dict[str, Any] = {"auth": auth} if auth else {}
        return await http.post("/introspect", data={"token": token} | data, **options)


def test_the_secret_of_resource_servers_is_the_same_in_every_release() -> None:
    """Workers of two releases serve at once while one is rolled out."""
    assert resource_server_secret(KEY) == "t1w_3S3Moja1of_GM-h55r2eFmwiy56wz2t_jlqd6kE"


async def test_the_resource_server_learns_what_a_token_is(world: World) -> None:
    """AUTH.md row 23."""
    tokens = await world.tokens()

    response = await ask(world, tokens["access_token"], (RESOURCE_SERVER, resource_server_secret(KEY)))

    assert response.json() == await world.server.introspect_token(tokens["access_token"])
    assert response.headers["cache-control"] == "no-store"


async def test_a_rotated_key_still_lets_the_resource_server_ask(make_world: MakeWorld) -> None:
    world = make_world(secret_keys=("the new key", KEY))

    response = await ask(world, "any", (RESOURCE_SERVER, resource_server_secret(KEY)))

    assert response.json() == {"active": False}


@pytest.mark.parametrize("auth", [None, (RESOURCE_SERVER, "wrong"), (RESOURCE_SERVER, ""), ("nobody", "x")])
async def test_nobody_else_may_ask(world: World, auth: tuple[str, str] | None) -> None:
    """AUTH.md row 23: not open to all."""
    tokens = await world.tokens()

    response = await ask(world, tokens["access_token"], auth)

    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert "www-authenticate" in response.headers


async def test_a_public_client_may_not_ask(world: World) -> None:
    tokens = await world.tokens()

    response = await ask(world, tokens["access_token"], None, client_id=tokens["client"]["client_id"])

    assert response.status_code == 401


async def test_a_confidential_client_learns_about_its_own_tokens_only(world: World) -> None:
    mine = await world.register(token_endpoint_auth_method="client_secret_basic")
    auth = (mine["client_id"], mine["client_secret"])
    pkce = world.pkce()
    async with world.browser() as http:
        code = (await world.authorize(http, mine, pkce))["code"]
    sent = {"grant_type": "authorization_code", "code": code, "code_verifier": pkce.verifier}
    own = (await world.token(sent, auth=auth)).json()
    others = await world.tokens()

    assert (await ask(world, own["access_token"], auth)).json()["active"] is True
    assert (await ask(world, others["access_token"], auth)).json() == {"active": False}


async def test_refresh_tokens_codes_and_nonsense_are_inactive(world: World) -> None:
    """AUTH.md row 4."""
    tokens = await world.tokens()
    for token in (tokens["refresh_token"], "nonsense", "sba_" + "x" * 65, tokens["access_token"] + "x"):
        response = await ask(world, token, (RESOURCE_SERVER, resource_server_secret(KEY)))
        assert response.json() == {"active": False}


async def test_an_expired_token_is_inactive(world: World) -> None:
    tokens = await world.tokens()
    world.clock.pass_(3_600)

    response = await ask(world, tokens["access_token"], (RESOURCE_SERVER, resource_server_secret(KEY)))

    assert response.json() == {"active": False}


async def test_a_token_in_the_query_is_not_looked_at(world: World) -> None:
    """AUTH.md row 5."""
    tokens = await world.tokens()
    async with world.browser() as http:
        response = await http.post(
            "/introspect",
            params={"token": tokens["access_token"]},
            data={"x": "y"},
            auth=(RESOURCE_SERVER, resource_server_secret(KEY)),
        )

    assert response.json()["error"] == "invalid_request"
