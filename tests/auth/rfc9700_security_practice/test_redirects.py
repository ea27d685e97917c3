"""Redirects that only seem to lead where they were registered to lead."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from auth_server import StaticClient
from tests.auth.conftest import MakeWorld, World

pytestmark = pytest.mark.parametrize("redis", ["memory"], indirect=True)

EVIL = "https://evil.example/cb"


@pytest.mark.parametrize(
    "uri",
    [
        "https://*.app.example/cb",
        "https://app.example:443:80/cb",
        "https://xn--/cb\u3002evil.example",
        "https://app.example%2f@evil.example/cb",
        "https://app.example%00.evil.example/cb",
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://0x7f000001/cb",
        "http://0177.0.0.1/cb",
        "http://[::ffff:127.0.0.1%25eth0]/cb",
        "http://localhost%2eevil.example/cb",
        "http://localhost./cb",
        "https://app.example/\tcb",
        "\u0001https://app.example/cb",
        "java\nscript:alert(1)",
        "intent://scan/#Intent;scheme=app;end",
        "view-source:https://app.example",
        "ws://localhost/cb",
        "about:blank",
    ],
)
async def test_a_redirect_that_two_readers_would_read_differently_cannot_be_registered(world: World, uri: str) -> None:
    async with world.browser() as http:
        answer = await http.post("/register", json={"redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize(
    "redirect",
    [
        "http://127.0.0.1:33418@evil.example/callback",
        "http://127.0.0.1%2f:33418/callback",
        "http://127.0.0.1:33418/callback%2e%2e",
        "http://127.0.0.1:33418/callback/",
        "http://127.0.0.1:33418/callback;x",
        "http://127.0.0.1:33418/callback?",
        "http://127.0.0.1:33418\\callback",
        "http://127.1:33418/callback",
        "http://[::1]:33418/callback",
        "HTTP://127.0.0.1:33418/callback",
        "http://127.0.0.1:33418/callback\x00",
        " http://127.0.0.1:33418/callback",
        "http://127.0.0.1:-1/callback",
        "http:///127.0.0.1:33418/callback",
        "http://①②⑦.0.0.1:33418/callback",
    ],
)
async def test_a_redirect_that_only_resembles_the_registered_one_is_a_page(world: World, redirect: str) -> None:
    asked = world.question(await world.register(), world.pkce(), redirect_uri=redirect)
    async with world.browser() as http:
        page = await http.get("/authorize", params=asked)
    assert page.status_code == 400
    assert "location" not in page.headers


async def test_a_redirect_that_was_registered_later_does_not_take_a_code_from_before(world: World) -> None:
    """RFC 7592: a registration that was taken over is changed between consent and redemption."""
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        back = await world.authorize(http, client, pkce)
        changed = {"client_id": client["client_id"], "redirect_uris": [EVIL], "token_endpoint_auth_method": "none"}
        address = client["registration_client_uri"].removeprefix(world.settings.base)
        bearer = {"Authorization": f"Bearer {client['registration_access_token']}"}
        assert (await http.put(address, json=changed, headers=bearer)).status_code == 200
    assert (await world.redeem(client, back["code"], pkce, redirect_uri=EVIL)).json()["error"] == "invalid_grant"


SITE = "https://app.example/cb"


@pytest.mark.parametrize("uri", [SITE, "com.example.app:/cb", "cursor://anysphere.cursor-mcp/oauth/callback"])
@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "none"},
        {"response_type": "token"},
        {"response_type": None},
        {"response_mode": "fragment"},
        {"scope": "everything"},
        {"resource": "https://other.example"},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
        {"state": "x" * 5000},
        {"request_uri": "https://app.example/r"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_is_sent_where_a_client_that_registered_itself_says_before_they_consented(
    world: World, uri: str, changes: dict[str, Any], method: str
) -> None:
    """RFC 9700 §4.11.2."""
    asked = world.question(await world.register(redirect_uris=[uri]), world.pkce(), **changes)
    async with world.browser() as http:
        sent: dict[str, Any] = {"params": asked} if method == "GET" else {"data": asked}
        page = await http.request(method, "/authorize", **sent)

    assert page.status_code == 400
    assert not {"location", "refresh", "link"} & set(page.headers)
    assert page.headers["content-type"].startswith("text/html")
    assert 'http-equiv="refresh"' not in page.text
    (link,) = re.findall(r'<a href="([^"]*)" rel="noreferrer">', page.text)
    told = world.query(html.unescape(link))
    assert html.unescape(link).startswith(uri + "?")
    assert told["error"]
    assert told["iss"] == world.settings.issuer
    assert (uri.split("/")[2] if uri == SITE else uri.split(":")[0] + ":") in page.text


@pytest.mark.parametrize("changes", [{"prompt": "none"}, {"response_type": "token"}])
async def test_errors_go_back_by_themselves_to_this_computer_and_to_clients_that_the_operator_chose(
    make_world: MakeWorld, changes: dict[str, Any]
) -> None:
    chosen = StaticClient(id="chosen", redirect_uris=(SITE,), grant_types=("authorization_code",), scope="mcp")
    world = make_world(clients=(chosen,))
    own = await world.register()
    for client in (own, {"client_id": "chosen", "redirect_uris": [SITE]}):
        async with world.browser() as http:
            back = await http.get("/authorize", params=world.question(client, world.pkce(), **changes))
        assert back.status_code == 303
        assert back.headers["location"].startswith(client["redirect_uris"][0] + "?error=")


async def test_a_scheme_that_was_registered_under_an_older_rule_is_not_followed(world: World) -> None:
    client = await world.register()
    key = f"auth:client:{client['client_id']}"
    await world.redis.set(key, (await world.redis.get(key)).replace(client["redirect_uris"][0], "smb://evil.example/x"))
    asked = world.question(client, world.pkce(), redirect_uri="smb://evil.example/x")
    async with world.browser() as http:
        page = await http.get("/authorize", params=asked)

    assert page.status_code == 400
    assert "smb" not in page.text
