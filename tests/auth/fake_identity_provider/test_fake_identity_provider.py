"""The fake upstream's pages: safe though anybody may be anyone."""

from __future__ import annotations

import pytest

from switchboard.errors import ConfigurationError
from tests.auth.conftest import MakeWorld, World

STATE = "s" * 43
SCRIPT = "<script>alert(1)</script>"


async def test_the_page_works_without_scripts(world: World) -> None:
    async with world.browser() as http:
        page = await http.get("/fakeupstreamauth/authorize", params={"state": STATE})

    assert page.status_code == 200
    assert 'name="user_id"' in page.text
    assert '<label for="user_id">' in page.text
    assert 'lang="en"' in page.text
    assert "<main" in page.text


@pytest.mark.parametrize("state", ["", "short", SCRIPT, "s" * 44, '"><script>x</script>', "s" * 42 + "'"])
async def test_nothing_it_was_sent_is_shown_back(world: World, state: str) -> None:
    async with world.browser() as http:
        page = await http.get("/fakeupstreamauth/authorize", params={"state": state, "redirect_uri": SCRIPT})

    assert page.status_code == 400
    assert "<script>x" not in page.text
    assert SCRIPT not in page.text
    assert "location" not in page.headers


@pytest.mark.parametrize("user", ["", " ", SCRIPT, "a b", "x" * 65, "-x", "a\r\nb", "\u202ealice", "al\u0456ce"])
async def test_an_odd_user_id_is_asked_for_again_and_not_repeated(world: World, user: str) -> None:
    async with world.browser() as http:
        page = await http.post("/fakeupstreamauth/redirect", data={"state": STATE, "user_id": user})

    assert page.status_code == 400
    assert SCRIPT not in page.text
    assert 'role="alert"' in page.text


async def test_it_sends_browsers_to_this_servers_callback_and_nowhere_else(world: World) -> None:
    async with world.browser() as http:
        response = await http.post(
            "/fakeupstreamauth/redirect",
            data={"state": STATE, "user_id": "alice", "redirect_uri": "https://evil.example/"},
        )

    assert response.headers["location"].startswith("http://localhost:3001/upstream/callback?")


async def test_cancelling_is_told_to_the_client_as_denied(world: World) -> None:
    client = await world.register()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce()))
        left = await http.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})
        picker = await http.get(left.headers["location"])
        cancelled = await http.post(
            "/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": "", "decision": "cancel"}
        )
        back = await http.get(cancelled.headers["location"])

    assert world.query(back.headers["location"])["error"] == "access_denied"


async def test_it_does_not_start_for_an_issuer_that_others_can_reach(make_world: MakeWorld) -> None:
    with pytest.raises(ConfigurationError, match="fake identity provider"):
        make_world(issuer="https://auth.example")
    make_world(issuer="https://auth.example", allow_fake_idp=True)


@pytest.mark.parametrize("issuer", ["http://localhost:3001", "http://127.0.0.1:3001", "http://[::1]:3001"])
async def test_it_starts_on_loopback(make_world: MakeWorld, issuer: str) -> None:
    make_world(issuer=issuer)
