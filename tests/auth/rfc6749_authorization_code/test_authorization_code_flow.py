"""OAuth 2.1 §4.1 with PKCE: the main road, and the ditches beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.conftest import World


async def test_a_person_signs_in_and_the_client_gets_tokens_that_work(world: World) -> None:
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce, "alice")

    assert back["state"] == "a b&c=d"
    response = await world.redeem(client, back["code"], pkce)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "mcp"
    assert tokens["expires_in"] == 3600
    claims = await world.claims(tokens["access_token"])
    assert claims == {
        "active": True,
        "token_type": "Bearer",
        "iss": "http://localhost:3001",
        "sub": "alice",
        "client_id": client["client_id"],
        "scope": "mcp",
        "aud": "http://localhost:3232/mcp",
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }


async def test_success_and_error_redirects_name_the_issuer(world: World) -> None:
    """AUTH.md row 16."""
    client = await world.register()
    async with world.browser() as http:
        back = await world.authorize(http, client, world.pkce())
        refused = await http.get("/authorize", params=world.question(client, world.pkce(), response_type="token"))

    assert back["iss"] == "http://localhost:3001"
    assert world.query(refused.headers["location"]) == {
        "error": "unsupported_response_type",
        "error_description": "response_type must be code",
        "state": "a b&c=d",
        "iss": "http://localhost:3001",
    }


async def test_reusing_a_code_is_rejected_and_revokes_its_family(world: World) -> None:
    """AUTH.md row 15."""
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
    first = (await world.redeem(client, back["code"], pkce)).json()

    again = await world.redeem(client, back["code"], pkce)

    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"
    assert await world.server.introspect_token(first["access_token"]) is None
    assert (await world.refresh(client, first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_does_not_outlive_ten_minutes(world: World) -> None:
    """AUTH.md row 15."""
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
    world.clock.pass_(601)

    assert (await world.redeem(client, back["code"], pkce)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "x" * 42}, "invalid_grant"),
        ({"code_verifier": "x" * 129}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:33418/other"}, "invalid_grant"),
        ({"resource": "http://localhost:3232/other"}, "invalid_target"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"code": "sbc_forged"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
    ],
)
async def test_a_redemption_that_differs_from_the_authorization_is_refused(
    world: World, changes: dict[str, Any], error: str
) -> None:
    """AUTH.md rows 12, 13 and 15."""
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)

    response = await world.redeem(client, back["code"], pkce, **changes)

    assert response.status_code == 400
    assert response.json()["error"] == error
    assert response.headers["cache-control"] == "no-store"
    assert (await world.redeem(client, back["code"], pkce)).status_code == 200, "the rightful redemption still works"


@pytest.mark.parametrize("length", [42, 129])
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_verifier_of_a_wrong_length_proves_nothing_though_the_challenge_was_made_from_it(
    world: World, length: int
) -> None:
    client = await world.register()
    pkce = type(world.pkce())("x" * length)
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)

    assert (await world.redeem(client, back["code"], pkce)).json()["error"] == "invalid_grant"


async def test_another_clients_code_is_worth_nothing(world: World) -> None:
    """AUTH.md row 15."""
    mine, other = await world.register(), await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, mine, pkce)

    assert (await world.redeem(other, back["code"], pkce)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "x"}, "invalid_request"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"code_challenge": "x" * 129}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "!"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
        ({"resource": ["http://localhost:3232/mcp", "https://b.example"]}, "invalid_target"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": 'mcp "x"'}, "invalid_scope"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://a.example/r"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "interaction_required"),
        ({"scope": ["mcp", "admin"]}, "invalid_request"),
    ],
)
async def test_a_wrong_authorization_request_is_told_to_the_client(
    world: World, changes: dict[str, Any], error: str
) -> None:
    """AUTH.md rows 12, 13 and 16."""
    client = await world.register()
    async with world.browser() as http:
        response = await http.get("/authorize", params=world.question(client, world.pkce(), **changes))

    assert response.status_code == 303
    location = response.headers["location"]
    assert location.startswith(client["redirect_uris"][0] + "?")
    told = world.query(location)
    assert (told["error"], told["state"], told["iss"]) == (error, "a b&c=d", world.settings.issuer)


async def test_a_doubled_state_is_not_sent_back(world: World) -> None:
    client = await world.register()
    async with world.browser() as http:
        response = await http.get("/authorize", params=world.question(client, world.pkce(), state=["one", "two"]))

    assert "state" not in world.query(response.headers["location"])


async def test_line_breaks_in_state_come_back_encoded_and_never_as_headers(world: World) -> None:
    client = await world.register()
    async with world.browser() as http:
        back = await world.authorize(http, client, world.pkce(), state="x\r\nSet-Cookie: evil=1")

    assert back["state"] == "x\r\nSet-Cookie: evil=1"


@pytest.mark.parametrize(
    "redirect",
    [
        "http://127.0.0.1:33418/other",
        "http://127.0.0.1:33418/callback/../other",
        "http://127.0.0.1:33418/callback#fragment",
        "http://someone@127.0.0.1:33418/callback",
        "http://127.0.0.1:33418/CALLBACK",
        "http://127.0.0.1:33418/callback?more=1",
        "http://localhost:33418/callback",
        "http://localhost.evil:33418/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:99999/callback",
        "https://127.0.0.1:33418/callback",
        "javascript:alert(1)",
        "",
        "//evil.example",
    ],
)
async def test_an_unregistered_redirect_is_a_page_and_never_a_redirect(world: World, redirect: str) -> None:
    """AUTH.md row 14."""
    client = await world.register(redirect_uris=["http://127.0.0.1:33418/callback", "https://app.example:8443/cb"])
    async with world.browser() as http:
        response = await http.get("/authorize", params=world.question(client, world.pkce(), redirect_uri=redirect))

    assert response.status_code == 400
    assert "location" not in response.headers
    assert response.headers["content-type"].startswith("text/html")
    assert "evil" not in response.text


async def test_a_loopback_redirect_may_come_back_on_any_port(world: World) -> None:
    """AUTH.md row 14, RFC 8252 §7.3."""
    client = await world.register()
    moved = {**client, "redirect_uris": ["http://127.0.0.1:50123/callback"]}
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, moved, pkce)

    assert (await world.redeem(moved, back["code"], pkce)).status_code == 200


async def test_an_https_redirect_keeps_its_port(world: World) -> None:
    """AUTH.md row 14."""
    client = await world.register(redirect_uris=["https://app.example:8443/cb"])
    async with world.browser() as http:
        question = world.question(client, world.pkce(), redirect_uri="https://app.example/cb")
        assert (await http.get("/authorize", params=question)).status_code == 400


async def test_an_unknown_client_is_a_page_and_never_a_redirect(world: World) -> None:
    client = {"client_id": "nobody<script>", "redirect_uris": ["https://evil.example/cb"]}
    async with world.browser() as http:
        response = await http.get("/authorize", params=world.question(client, world.pkce()))

    assert response.status_code == 400
    assert "location" not in response.headers
    assert "<script>" not in response.text


async def test_the_query_of_a_registered_redirect_is_kept(world: World) -> None:
    client = await world.register(redirect_uris=["http://127.0.0.1/cb?tenant=7"])
    async with world.browser() as http:
        response = await http.get("/authorize", params=world.question(client, world.pkce(), scope="nope"))

    assert response.headers["location"].startswith("http://127.0.0.1/cb?tenant=7&error=invalid_scope")


async def test_a_client_that_names_no_resource_gets_the_first_one(world: World) -> None:
    """AUTH.md row 13: clients of 2025-03-26 do not know the parameter."""
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce, resource=None)
    tokens = (await world.redeem(client, back["code"], pkce, resource=None)).json()

    claims = await world.claims(tokens["access_token"])
    assert claims["aud"] == "http://localhost:3232/mcp"


async def test_repeated_parameters_at_the_token_endpoint_are_refused(world: World) -> None:
    response = await world.token(
        {"grant_type": ["authorization_code", "refresh_token"], "client_id": "x"},
    )

    assert response.status_code == 400
    assert response.json() == {"error": "invalid_request", "error_description": "grant_type is repeated"}
