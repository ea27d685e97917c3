"""A person looks after what they granted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.auth.conftest import World


async def sign_in(world: World, http: Any, user: str = "alice") -> Any:
    """The person's page, after the login that leads to it."""
    left = await http.get("/grants")
    assert left.status_code == 303
    picker = await http.get(left.headers["location"])
    picked = await http.post("/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": user})
    back = await http.get(picked.headers["location"])
    return await http.get(back.headers["location"])


def families(page: str) -> list[str]:
    """What can be removed on a page."""
    return re.findall(r'name="family" value="([^"]+)"', page)


async def test_a_person_sees_their_own_connections_and_no_others(world: World) -> None:
    for name, user in (("Editor", "alice"), ("Shell <b>", "alice"), ("Bobs", "bob")):
        await world.tokens(await world.register(client_name=name), user=user)
    async with world.browser() as http:
        page = await sign_in(world, http)

    assert page.status_code == 200
    assert "Editor" in page.text
    assert "Shell &lt;b&gt;" in page.text
    assert "Bobs" not in page.text
    assert "15 January 2027" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_taking_access_back_ends_its_tokens_and_only_those(world: World) -> None:
    """AUTH.md row 29."""
    kept = await world.tokens()
    world.clock.pass_(1)
    removed = await world.tokens()
    async with world.browser() as http:
        page = await sign_in(world, http)
        fields = world.hidden(page.text) | {"family": removed["refresh_token"][4:26]}
        response = await http.post("/grants", data=fields)
        after = await http.get(response.headers["location"])

    assert (len(families(page.text)), len(families(after.text))) == (2, 1)
    assert await world.server.introspect_token(removed["access_token"]) is None
    assert await world.server.introspect_token(kept["access_token"])


async def test_nobody_can_take_back_what_somebody_else_granted(world: World) -> None:
    bobs = await world.tokens(user="bob")
    async with world.browser() as http:
        page = await sign_in(world, http)
        await http.post("/grants", data=world.hidden(page.text) | {"family": bobs["refresh_token"][4:26]})

    assert await world.server.introspect_token(bobs["access_token"])


@pytest.mark.parametrize(("csrf", "origin"), [("", None), ("x", None), (None, "https://evil.example")])
async def test_a_forged_form_takes_nothing_back(world: World, csrf: str | None, origin: str | None) -> None:
    tokens = await world.tokens()
    async with world.browser() as http:
        page = await sign_in(world, http)
        fields = world.hidden(page.text) | {"family": families(page.text)[0]}
        headers = {"Origin": origin} if origin else {}
        response = await http.post("/grants", data=fields | ({} if csrf is None else {"csrf": csrf}), headers=headers)

    assert response.status_code == 403
    assert await world.server.introspect_token(tokens["access_token"])


async def test_a_session_is_no_consent(world: World) -> None:
    """AUTH.md row 20: a signed-in person is asked about every client all the same."""
    client = await world.register()
    async with world.browser() as http:
        await sign_in(world, http)
        page = await http.get("/authorize", params=world.question(client, world.pkce()))

    assert page.status_code == 200
    assert 'value="allow"' in page.text


async def test_signing_out_and_being_revoked_both_end_the_session(world: World) -> None:
    async with world.browser() as first, world.browser() as second:
        page = await sign_in(world, first)
        await sign_in(world, second)
        goodbye = await first.post("/grants", data=world.hidden(page.text) | {"decision": "sign-out"})
        assert "signed out" in goodbye.text
        assert (await first.get("/grants")).status_code == 303
        assert (await second.get("/grants")).status_code == 200

        await world.server.revoke("user", "alice")
        assert (await second.get("/grants")).status_code == 303


async def test_a_session_ends_after_seven_days(world: World) -> None:
    async with world.browser() as http:
        await sign_in(world, http)
        world.clock.pass_(7 * 86_400)
        assert (await http.get("/grants")).status_code == 303


async def test_cancelling_the_login_is_a_page_that_says_so(world: World) -> None:
    async with world.browser() as http:
        left = await http.get("/grants")
        picker = await http.get(left.headers["location"])
        fields = world.hidden(picker.text) | {"decision": "cancel"}
        cancelled = await http.post("/fakeupstreamauth/redirect", data=fields)
        page = await http.get(cancelled.headers["location"])

    assert page.status_code == 400
    assert "not signed in" in page.text
