"""Consent, the browser it belongs to, and the upstream login behind it: no confused deputy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.conftest import MakeWorld, World

SCRIPT = "<script>alert(1)</script>"


async def at_consent(world: World, http: Any, client: Any = None, **changes: Any) -> dict[str, str]:
    """The hidden fields of a consent page."""
    client = client or await world.register()
    page = await http.get("/authorize", params=world.question(client, world.pkce(), **changes))
    assert page.status_code == 200
    fields: dict[str, str] = world.hidden(page.text)
    return fields


async def test_the_page_names_the_client_the_scopes_and_where_the_answer_goes(world: World) -> None:
    """AUTH.md row 20."""
    client = await world.register(client_name="Paint Shop", redirect_uris=["https://paint.example:8443/cb"])
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce(), scope="mcp:tools admin"))

    for shown in ("Paint Shop", "paint.example:8443", "Run tools", "manage the server", "http://localhost:3232/mcp"):
        assert shown in page.text
    assert "Read resources" not in page.text


async def test_the_page_cannot_be_framed_cached_or_made_to_run_anything(world: World) -> None:
    """AUTH.md row 20."""
    client = await world.register()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce()))

    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"].lower() == "deny"
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", [SCRIPT, "A\u202eB\u2066C\u200bD", "x" * 4096, "two\nlines\x00"])
async def test_a_hostile_client_name_is_shown_as_harmless_text(world: World, name: str) -> None:
    """AUTH.md attacks: client_name with script, bidi marks, 4 KB."""
    client = await world.register(client_name=name)
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce()))

    assert SCRIPT not in page.text
    assert not set("\u202e\u2066\u200b\x00") & set(page.text)
    assert "x" * 101 not in page.text
    assert len(client["client_name"]) <= 100


async def test_nobody_reaches_the_upstream_before_consent(world: World) -> None:
    """AUTH.md rows 20 and 21."""
    async with world.browser() as http:
        await at_consent(world, http)
        picker = await http.get("/fakeupstreamauth/authorize?state=" + "x" * 43)
        forged = await http.post("/fakeupstreamauth/redirect", data={"state": "x" * 43, "user_id": "alice"})
        back = await http.get(forged.headers["location"])

    assert picker.status_code == 200
    assert back.status_code == 400
    assert "location" not in back.headers


async def test_denying_tells_the_client_and_nothing_else_happens(world: World) -> None:
    client = await world.register()
    async with world.browser() as http:
        fields = await at_consent(world, http, client)
        response = await http.post("/consent", data=fields | {"decision": "deny"})

    told = world.query(response.headers["location"])
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", "a b&c=d", world.settings.issuer)


@pytest.mark.parametrize("decision", ["", "yes", "ALLOW"])
async def test_only_allow_is_consent(world: World, decision: str) -> None:
    async with world.browser() as http:
        fields = await at_consent(world, http)
        response = await http.post("/consent", data=fields | {"decision": decision})

    assert world.query(response.headers["location"])["error"] == "access_denied"


@pytest.mark.parametrize("csrf", ["", "x" * 43])
async def test_a_form_without_its_token_is_refused(world: World, csrf: str) -> None:
    """AUTH.md row 20."""
    async with world.browser() as http:
        fields = await at_consent(world, http)
        refused = await http.post("/consent", data=fields | {"decision": "allow", "csrf": csrf})
        assert refused.status_code == 403
        assert (await http.post("/consent", data=fields | {"decision": "allow"})).status_code == 303


async def test_a_form_with_another_transactions_token_is_refused(world: World) -> None:
    """AUTH.md row 20: client A's consent is not client B's."""
    async with world.browser() as http:
        first = await at_consent(world, http)
        second = await at_consent(world, http)
        mixed = {"transaction": second["transaction"], "csrf": first["csrf"], "decision": "allow"}
        assert (await http.post("/consent", data=mixed)).status_code == 403


async def test_a_form_from_another_browser_is_refused(world: World) -> None:
    """AUTH.md row 20."""
    async with world.browser() as victim, world.browser() as attacker:
        fields = await at_consent(world, victim)
        stolen = await attacker.post("/consent", data=fields | {"decision": "allow"})
        await at_consent(world, attacker)
        with_own_cookie = await attacker.post("/consent", data=fields | {"decision": "allow"})

    assert (stolen.status_code, with_own_cookie.status_code) == (403, 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3002"])
async def test_a_form_posted_from_another_origin_is_refused(world: World, origin: str) -> None:
    async with world.browser() as http:
        fields = await at_consent(world, http)
        response = await http.post("/consent", data=fields | {"decision": "allow"}, headers={"Origin": origin})

    assert response.status_code == 403


async def test_a_decision_is_taken_once(world: World) -> None:
    async with world.browser() as http:
        fields = await at_consent(world, http)
        assert (await http.post("/consent", data=fields | {"decision": "allow"})).status_code == 303
        assert (await http.post("/consent", data=fields | {"decision": "allow"})).status_code == 400


async def test_a_decision_has_to_be_made_within_ten_minutes(world: World) -> None:
    async with world.browser() as http:
        fields = await at_consent(world, http)
        world.clock.pass_(601)
        assert (await http.post("/consent", data=fields | {"decision": "allow"})).status_code == 400


async def test_every_client_is_asked_about_even_right_after_another_was_allowed(world: World) -> None:
    """AUTH.md row 20: a live upstream session never skips a new client's consent."""
    first, second = await world.register(), await world.register(client_name="Second")
    async with world.browser() as http:
        await world.authorize(http, first, world.pkce())
        page = await http.get("/authorize", params=world.question(second, world.pkce()))

    assert page.status_code == 200
    assert "Second" in page.text


async def left_for_upstream(world: World, http: Any) -> str:
    """Consent given; the address the upstream sends the browser back to."""
    fields = await at_consent(world, http)
    left = await http.post("/consent", data=fields | {"decision": "allow"})
    picker = await http.get(left.headers["location"])
    picked = await http.post("/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": "alice"})
    return str(picked.headers["location"])


async def test_the_upstreams_answer_counts_once(world: World) -> None:
    """AUTH.md row 21."""
    async with world.browser() as http:
        callback = await left_for_upstream(world, http)
        assert (await http.get(callback)).status_code == 303
        again = await http.get(callback)

    assert again.status_code == 400
    assert "location" not in again.headers


async def test_the_upstreams_answer_counts_only_in_the_browser_that_consented(world: World) -> None:
    """AUTH.md row 21; and trying it elsewhere does not use it up."""
    async with world.browser() as http, world.browser() as other:
        callback = await left_for_upstream(world, http)
        without_cookie = await other.get(callback)
        await at_consent(world, other)
        with_another = await other.get(callback)
        rightful = await http.get(callback)

    assert (without_cookie.status_code, with_another.status_code, rightful.status_code) == (403, 403, 303)


@pytest.mark.parametrize(
    ("old", "new"),
    [("iss=http", "iss=https"), ("&iss=", "&other="), ("code=", "code=x"), ("code=", "other=")],
)
async def test_an_upstream_answer_that_was_tampered_with_signs_nobody_in(world: World, old: str, new: str) -> None:
    """AUTH.md attacks: upstream callback with a wrong iss."""
    async with world.browser() as http:
        callback = await left_for_upstream(world, http)
        assert old in callback
        response = await http.get(callback.replace(old, new))

    told = world.query(response.headers["location"])
    assert told["error"] == "server_error"
    assert "code" not in told


async def test_the_clients_code_is_not_the_upstreams_state_or_code(world: World) -> None:
    """The reference server used one value for all three."""
    client = await world.register()
    async with world.browser() as http:
        fields = await at_consent(world, http, client)
        left = await http.post("/consent", data=fields | {"decision": "allow"})
        state = world.query(left.headers["location"])["state"]
        picker = await http.get(left.headers["location"])
        picked = await http.post("/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": "alice"})
        upstream_code = world.query(picked.headers["location"])["code"]
        code = world.query((await http.get(picked.headers["location"])).headers["location"])["code"]

    assert len({fields["transaction"], state, upstream_code, code}) == 4
    for known in (fields["transaction"], state, upstream_code):
        response = await world.token(
            {"grant_type": "authorization_code", "client_id": client["client_id"], "code": known}
        )
        assert response.json()["error"] == "invalid_grant"


async def test_https_issuers_set_a_host_bound_cookie_and_loopback_ones_a_plain_one(make_world: MakeWorld) -> None:
    """AUTH.md row 20."""
    cookies = {}
    for issuer in ("https://auth.example", "http://localhost:3001"):
        world = make_world(issuer=issuer, allow_fake_idp=True)
        client = await world.register()
        async with world.browser() as http:
            page = await http.get("/authorize", params=world.question(client, world.pkce()))
        cookies[issuer] = page.headers["set-cookie"]

    secure, plain = cookies["https://auth.example"], cookies["http://localhost:3001"]
    assert secure.startswith("__Host-")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(secure.split("; "))
    assert "Domain" not in secure
    assert not plain.startswith("__Host-")
    assert "Secure" not in plain
    assert "HttpOnly" in plain


async def test_two_windows_of_one_browser_do_not_disturb_each_other(world: World) -> None:
    async with world.browser() as http:
        first, second = await at_consent(world, http), await at_consent(world, http)
        answers = [await http.post("/consent", data=fields | {"decision": "allow"}) for fields in (first, second)]

    assert [answer.status_code for answer in answers] == [303, 303]
