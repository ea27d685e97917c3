"""RFC 7592: a client looks after its own registration."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.conftest import World


async def manage(world: World, method: str, client: dict[str, Any], token: str | None = None, **options: Any) -> Any:
    """A request to the client's own address."""
    bearer = client["registration_access_token"] if token is None else token
    async with world.browser() as http:
        headers = {"Authorization": f"Bearer {bearer}"}
        return await http.request(method, client["registration_client_uri"], headers=headers, **options)


async def test_a_client_reads_its_registration(world: World) -> None:
    """AUTH.md row 18."""
    client = await world.register()

    assert (await manage(world, "GET", client)).json() == client


async def test_a_client_replaces_its_registration_and_the_new_one_counts(world: World) -> None:
    """AUTH.md row 18."""
    client = await world.register()
    new = {"client_id": client["client_id"], "redirect_uris": ["https://new.example/cb"], "client_name": "New"}

    answer = (await manage(world, "PUT", client, json=new | {"token_endpoint_auth_method": "none"})).json()

    assert (answer["redirect_uris"], answer["client_name"]) == (["https://new.example/cb"], "New")
    assert "client_secret" not in answer
    async with world.browser() as http:
        old = await http.get("/authorize", params=world.question(client, world.pkce()))
        changed = await http.get("/authorize", params=world.question(answer, world.pkce()))
    assert (old.status_code, changed.status_code) == (400, 200)


async def test_a_client_that_wants_a_secret_gets_one(world: World) -> None:
    client = await world.register()
    new = {"client_id": client["client_id"], "redirect_uris": client["redirect_uris"]}

    answer = (await manage(world, "PUT", client, json=new)).json()

    assert answer["token_endpoint_auth_method"] == "client_secret_basic"
    assert len(answer["client_secret"]) >= 43


async def test_a_client_that_has_a_secret_keeps_it_and_loses_it_when_it_wants_none(world: Any) -> None:
    post = {"token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "refresh_token"]}
    client = await world.register(**post)
    new = {"client_id": client["client_id"], "redirect_uris": client["redirect_uris"]} | post
    sent = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": client["client_id"]}
    sent |= {"client_secret": client["client_secret"]}

    renamed = (await manage(world, "PUT", client, json=new | {"client_name": "New"})).json()
    kept = (await world.token(sent)).json()
    await manage(world, "PUT", client, json=new | {"token_endpoint_auth_method": "none"})
    lost = (await world.token(sent)).json()

    assert "client_secret" not in renamed
    assert (kept["error"], lost["error"]) == ("invalid_grant", "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "c_other"},
        {"client_id": None},
        {"redirect_uris": ["http://evil.example/"]},
        {"client_secret": "chosen"},
        {"registration_access_token": "x"},
        {"client_id_issued_at": 1},
    ],
)
async def test_what_the_server_decides_cannot_be_replaced(world: World, changes: dict[str, Any]) -> None:
    client = await world.register()
    new = {"client_id": client["client_id"], "redirect_uris": client["redirect_uris"]} | changes

    response = await manage(world, "PUT", client, json={key: value for key, value in new.items() if value is not None})

    assert response.status_code == 400
    assert (await manage(world, "GET", client)).json() == client


async def test_a_client_that_leaves_takes_its_tokens_with_it(world: World) -> None:
    """AUTH.md row 18."""
    client = await world.register()
    tokens = await world.tokens(client)

    assert (await manage(world, "DELETE", client)).status_code == 204

    assert await world.server.introspect_token(tokens["access_token"]) is None
    assert (await world.refresh(client, tokens["refresh_token"])).status_code == 401
    assert (await manage(world, "GET", client)).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("token", ["", "wrong", "other"])
async def test_nobody_else_may(world: World, method: str, token: str) -> None:
    """AUTH.md row 18."""
    client, other = await world.register(), await world.register()
    bearer = other["registration_access_token"] if token == "other" else token

    response = await manage(world, method, client, bearer, json={"client_id": client["client_id"]})

    assert response.status_code == 401
    assert "www-authenticate" in response.headers
    assert (await manage(world, "GET", client)).status_code == 200
