"""Logins that are mixed up, fixed beforehand, framed or forged."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.auth.conftest import MakeWorld, World

pytestmark = pytest.mark.parametrize("redis", ["memory"], indirect=True)


async def test_an_upstream_code_of_another_login_is_worth_nothing(world: World) -> None:
    """Code injection one level up: the attacker's login at the provider is slipped into the victim's."""
    async with world.browser() as attacker, world.browser() as victim:
        theirs, ours = await world.at_picker(attacker), await world.at_picker(victim)
        picked = await attacker.post("/fakeupstreamauth/redirect", data=theirs | {"user_id": "mallory"})
        stolen = world.query(picked.headers["location"])
        injected = stolen | {"state": ours["state"]}
        back = await victim.get("/upstream/callback", params=injected)
    told = world.query(back.headers["location"])
    assert "code" not in told
    assert told["error"] == "server_error"


async def test_the_providers_answer_does_not_say_who_signed_in_until_its_code_is_redeemed(world: World) -> None:
    async with world.browser() as http:
        picked = await http.post("/fakeupstreamauth/redirect", data=await world.at_picker(http) | {"user_id": "alice"})
    assert set(world.query(picked.headers["location"])) == {"code", "state", "iss"}
    assert "alice" not in picked.headers["location"]


async def test_a_session_is_made_at_login_and_never_taken_from_the_browser(world: World) -> None:
    """Session fixation: the attacker knows a cookie that was there before the victim signed in."""
    planted = "A" * 43
    async with world.browser() as http:
        http.cookies.set("auth-session", planted)
        http.cookies.set("auth-browser", planted)
        left = await http.get("/grants")
        assert left.status_code == 303
        picker = await http.get(left.headers["location"])
        picked = await http.post("/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": "alice"})
        signed_in = await http.get(picked.headers["location"])
        made = signed_in.cookies["auth-session"]
    async with world.browser() as attacker:
        attacker.cookies.set("auth-session", planted)
        assert (await attacker.get("/grants")).status_code == 303
    assert made != planted
    assert len(made) == 43


async def test_a_cookie_of_one_kind_is_not_one_of_another(world: World) -> None:
    async with world.browser() as http:
        await world.at_consent(http)
        browser = http.cookies["auth-browser"]
    async with world.browser() as other:
        other.cookies.set("auth-session", browser)
        assert (await other.get("/grants")).status_code == 303


async def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites_forms(make_world: MakeWorld) -> None:
    world = make_world(issuer="https://auth.example", allow_fake_idp=True)
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(await world.register(), world.pkce()))
    (cookie,) = page.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-")
    for attribute in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"):
        assert attribute in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("path", ["/authorize", "/fakeupstreamauth/authorize", "/upstream/callback", "/consent"])
async def test_no_page_can_be_framed_sniffed_or_kept(world: World, path: str) -> None:
    """Clickjacking, error pages included: what is framed may be made to look like something else."""
    async with world.browser() as http:
        page = await (http.post(path, data={}) if path == "/consent" else http.get(path))
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in page.headers["cache-control"]


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
async def test_a_consent_in_a_form_that_other_sites_can_send_without_asking_is_refused(world: World, kind: str) -> None:
    async with world.browser() as http:
        body = urlencode(await world.at_consent(http) | {"decision": "allow"}).encode()
        forged = await http.post("/consent", content=body, headers={"Content-Type": kind})
    assert forged.status_code == 400
    assert "location" not in forged.headers
