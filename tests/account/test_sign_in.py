"""Signing in with a browser, through the authorization server that MCP clients use."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous.encoding import base64_decode

from auth_server import AuthorizationServer
from switchboard.account.records import Records
from switchboard.authorization import issuing_settings
from switchboard.settings import Settings
from tests.account.conftest import Browser, House, OpenHouse
from tools.fleet.children import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/auth/credentials"


def cookies(browser: Browser, part: str) -> list[Any]:
    """The cookies of a browser whose name has this in it."""
    return [each for each in browser.http.cookies.jar if part in each.name]


def issuer(house: House) -> AuthorizationServer:
    """The authorization server of the first worker, as its operator reaches it."""
    app = house.workers[0].app
    settings: Settings = app._settings
    return AuthorizationServer.over(issuing_settings(settings), app.rooms.state, None)


async def test_a_person_in_a_browser_is_the_person_of_their_mcp_tokens(house: House, mcp_token: Any) -> None:
    token = await mcp_token(house, "alice")
    async with house.browser("alice") as alice:
        stored = await alice.send(
            "POST", API, json={"id": "weather", "values": {"key": "sk-1"}}, headers={"Authorization": f"Bearer {token}"}
        )
        page = await alice.get("/connections/connect/weather")

    assert stored.status_code == 200, stored.text
    assert "stored; leave empty to keep" in page.text


async def test_every_worker_knows_who_signed_in_at_one(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        alice.worker = 1
        page = await alice.send("GET", "/connections")

    assert (page.status_code, "Signed in as <bdi>alice</bdi>" in page.text) == (200, True)


async def test_one_worker_may_finish_a_sign_in_that_another_began(house: House) -> None:
    async with house.browser("alice") as alice:
        left = await alice.get("/connections", until="/account/callback")
        alice.worker = 1
        page = await alice.get(left.headers["location"])

    assert "Signed in as <bdi>alice</bdi>" in page.text


async def test_signing_out_ends_the_session_on_every_worker_and_its_tokens(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get("/connections")
        kept = {each.name: each.value for each in cookies(alice, "session")}
        tokens = await tokens_of(house, alice)
        form = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
        goodbye = await alice.send("POST", "/account/sign-out", data={"csrf": form})
        assert "You are signed out" in goodbye.text
        assert cookies(alice, "session") == []

        for name, value in kept.items():
            alice.http.cookies.set(name, value, domain="localhost.local")
        alice.worker = 1
        again = await alice.send("GET", "/connections")

    assert again.status_code == 303
    assert await issuer(house).introspect_token(tokens["access_token"]) is None


async def test_revoking_all_of_a_person_signs_them_out(house: House) -> None:
    async with house.browser("alice") as alice, house.browser("bob") as bob:
        await alice.get("/connections")
        await bob.get("/connections")

        await issuer(house).revoke("user", "alice")

        assert (await alice.send("GET", "/connections")).status_code == 303
        assert (await bob.send("GET", "/connections")).status_code == 200


async def test_a_session_outlives_its_access_token(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        before = await tokens_of(house, alice)
        redis = house.workers[0].app.rooms.state.redis
        await redis.delete(*[key async for key in redis.scan_iter("auth:access:*")])

        page = await alice.send("GET", "/connections")
        after = await tokens_of(house, alice)

    assert page.status_code == 200
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]


async def test_coming_back_twice_or_with_a_foreign_state_signs_nobody_in(house: House) -> None:
    async with house.browser("alice") as alice, house.browser("mallory") as mallory:
        hers = await alice.get("/connections", until="/account/callback")
        foreign = await mallory.send("GET", hers.headers["location"])
        assert foreign.status_code == 400
        assert "began in another browser" in foreign.text
        assert cookies(mallory, "session") == []

        assert (await alice.send("GET", hers.headers["location"])).status_code == 303
        alice.http.cookies = type(alice.http.cookies)({each.name: each.value for each in cookies(alice, "sign-in")})
        again = await alice.send("GET", hers.headers["location"])

    assert again.status_code == 400
    assert "You have not been signed in" in again.text


async def test_an_answer_of_another_issuer_signs_nobody_in(house: House) -> None:
    async with house.browser("alice") as alice:
        back = await alice.get("/connections", until="/account/callback")
        changed = re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fevil.example", back.headers["location"])
        page = await alice.send("GET", changed)

    assert page.status_code >= 400
    assert cookies(alice, "session") == []


async def test_a_person_who_denies_is_told_that_they_are_not_signed_in_and_how_to_go_on(house: House) -> None:
    async with house.browser("alice") as alice:
        asked = await alice.send("GET", "/connections")
        consent = await alice.send("GET", asked.headers["location"])
        denied = await alice.submit(consent, decision="deny")
        page = await alice.send("GET", denied.headers["location"])

    assert page.status_code == 502
    assert "You are not signed in" in page.text
    assert 'href="/connections"' in page.text


@pytest.mark.parametrize("path", ["//evil.example/connections", "/%2F%2Fevil.example", "/connections//evil.example"])
async def test_no_address_leads_elsewhere_after_signing_in(house: House, path: str) -> None:
    async with house.browser("alice") as alice:
        answer = await alice.send("GET", house.base + path)

    assert answer.status_code in (404, 405)
    assert "location" not in answer.headers


async def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites_posts(house: House) -> None:
    async with house.browser("alice") as alice:
        back = await alice.get("/connections", until="/account/callback")
        signed_in = await alice.send("GET", back.headers["location"])

    said = [each.lower() for each in signed_in.headers.get_list("set-cookie") if "session=" in each]
    assert len(said) == 1
    assert {"httponly", "path=/", "samesite=lax"} <= {each.strip() for each in said[0].split(";")}


async def test_https_ties_cookies_to_the_host(open_house: OpenHouse) -> None:
    house = await open_house(1, base_uri=f"https://localhost:{free_port()}", auth_mode="none")
    async with house.browser() as somebody:
        house.base = house.base.replace("https:", "http:")
        answer = await somebody.send("GET", "/connections")

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-switchboard-anonymous=")
    assert "; secure" in cookie.lower()


async def test_a_changed_cookie_is_nobodys(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        (session,) = cookies(alice, "session")
        changed = session.value[:-2] + ("A" if session.value[-2] != "A" else "B") + session.value[-1]
        answer = await alice.send("GET", "/connections", headers={"Cookie": f"{session.name}={changed}"})

    assert answer.status_code == 303


async def test_nothing_in_redis_gives_a_session_away(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        secret = secret_of(alice)
        tokens = await tokens_of(house, alice)
        redis = house.workers[0].app.rooms.state.redis
        kept = [(key, await redis.get(key)) async for key in redis.scan_iter("account:*")]

    assert len(kept) == 1
    assert not any(each in repr(kept) for each in (secret, tokens["access_token"], tokens["refresh_token"], "alice"))


async def test_without_authorization_everybody_is_the_same_person_and_nobody_signs_in(open_house: OpenHouse) -> None:
    house = await open_house(1, auth_mode="none")
    async with house.browser() as somebody:
        page = await somebody.get("/connections")
        assert "everybody who reaches this server" in page.text
        typed = await somebody.get("/connections/connect/weather")
        stored = await somebody.submit(typed, None, **{"decision": "store", "field-key": "sk-1"})
        listed = await somebody.send("GET", API)

    assert stored.status_code == 303
    assert {each["id"]: each["state"] for each in listed.json()["connections"]}["weather"] == "connected"


async def test_a_browser_without_cookies_is_told_so_and_not_sent_in_circles(open_house: OpenHouse) -> None:
    house = await open_house(1, auth_mode="none")
    async with house.browser() as somebody:
        left = await somebody.send("GET", "/connections")
        somebody.http.cookies.clear()
        page = await somebody.send("GET", left.headers["location"])

    assert page.status_code == 400
    assert "This page needs cookies" in page.text


async def test_a_path_in_the_public_url_is_kept_everywhere(open_house: OpenHouse) -> None:
    house = await open_house(1, "/tools")
    async with house.browser("alice") as alice:
        page = await alice.get("/tools/connections")
        assert "Signed in as <bdi>alice</bdi>" in page.text
        done = await alice.connect()

    assert "is connected" in done.text
    assert 'href="/tools/connections"' in done.text
    assert [each.name for each in cookies(alice, "session")] == ["switchboard-session-tools"]


def secret_of(browser: Browser) -> str:
    """The key of a browser's session."""
    (session,) = cookies(browser, "session")
    return str(json.loads(base64_decode(session.value.rpartition(".")[0]))["session"])


async def tokens_of(house: House, browser: Browser) -> dict[str, Any]:
    """The tokens behind a browser's session."""
    found = await Records(house.workers[0].app.rooms.state).read("session", secret_of(browser))
    assert found is not None
    return found


def asked(url: str) -> dict[str, list[str]]:
    """What an authorization request says."""
    return parse_qs(urlsplit(url).query)


async def test_it_asks_as_mcp_clients_must(house: House) -> None:
    async with house.browser("alice") as alice:
        left = await alice.send("GET", "/connections")

    said = asked(left.headers["location"])
    assert said["resource"] == [f"{house.base}/mcp"]
    assert said["code_challenge_method"] == ["S256"]
    assert said["scope"] == ["mcp"]
