"""Requests are counted for the fleet: by address, by client and by person."""

from __future__ import annotations

from typing import Any

import pytest

from auth_server import StaticClient
from auth_server.quotas import QUOTAS
from switchboard.common.quota import Quota
from tests.auth.conftest import MakeWorld, World

BODY = {"redirect_uris": ["http://localhost/cb"]}


async def from_address(world: World, address: str) -> Any:
    """A registration from somewhere."""
    async with world.browser(client=(address, 1)) as http:
        return await http.post("/register", json=BODY)


async def test_registrations_are_limited_by_address_on_all_workers_together(make_world: MakeWorld) -> None:
    """AUTH.md row 18."""
    one, two = make_world(), make_world()
    for number in range(QUOTAS["register"].limit):
        assert (await from_address((one, two)[number % 2], "192.0.2.1")).status_code == 201

    refused = await from_address(two, "192.0.2.1")

    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= QUOTAS["register"].window + 1
    assert refused.headers["access-control-allow-origin"] == "*"
    assert (await from_address(one, "192.0.2.2")).status_code == 201
    one.clock.pass_(int(refused.headers["retry-after"]))
    assert (await from_address(one, "192.0.2.1")).status_code == 201


async def test_pages_are_limited_too_and_say_so_as_pages(world: World) -> None:
    async with world.browser() as http:
        for _ in range(QUOTAS["authorize"].limit):
            await http.get("/authorize")
        page = await http.get("/authorize")

    assert page.status_code == 429
    assert page.headers["retry-after"]
    assert page.headers["content-type"].startswith("text/html")


async def test_limits_can_be_switched_off(make_world: MakeWorld) -> None:
    world = make_world(rate_limits=False)
    async with world.browser() as http:
        statuses = {(await http.get("/authorize")).status_code for _ in range(QUOTAS["authorize"].limit + 5)}

    assert statuses == {400}


async def test_a_quota_that_is_used_up_at_the_end_of_a_minute_is_not_there_again_in_the_next(
    make_world: MakeWorld,
) -> None:
    """Windows that begin by the clock let twice as much pass around their edges."""
    world = make_world(quotas=few(token=3))
    world.clock.now = 60 * (world.clock.now // 60) + 59
    for _ in range(3):
        assert not refused(await post(world, "/token", {}))
    world.clock.pass_(2)

    assert refused(await post(world, "/token", {}))
    world.clock.pass_(19)
    assert not refused(await post(world, "/token", {}))
    assert refused(await post(world, "/token", {}))


def few(**limits: int) -> dict[str, Any]:
    """The usual quotas, some of them small; underscores stand for spaces."""
    usual: dict[str, Any] = {str(name): quota for name, quota in QUOTAS.items()}
    named = {name.replace("_", " "): limit for name, limit in limits.items()}
    return usual | {name: Quota(name, limit) for name, limit in named.items()}


def refused(answer: Any) -> bool:
    """Whether it is 429 and says when to come back."""
    return answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 61


async def post(world: World, path: str, data: dict[str, Any], address: str = "192.0.2.1", **options: Any) -> Any:
    """A form from somewhere."""
    async with world.browser(client=(address, 1)) as http:
        return await http.post(path, data=data, **options)


@pytest.mark.parametrize("path", ["/token", "/revoke"])
async def test_a_public_clients_name_is_counted_with_the_address_that_uses_it(make_world: MakeWorld, path: str) -> None:
    """Anybody can write somebody else's client id: that must not use up the other's share."""
    one, two = (make_world(quotas=few(public_client=3)) for _ in range(2))
    client = await one.register()
    sent = {"client_id": client["client_id"], "grant_type": "refresh_token", "refresh_token": "x", "token": "x"}
    for world in (one, two, one):
        assert (await post(world, path, sent)).status_code in (200, 400)

    assert refused(await post(two, path, sent))
    assert not refused(await post(two, path, sent, "198.51.100.1"))


async def test_a_client_that_authenticates_is_counted_wherever_it_comes_from(make_world: MakeWorld) -> None:
    machine = StaticClient(id="job", secret="s" * 32, scope="mcp")
    one, two = (make_world(quotas=few(client=3), clients=(machine,)) for _ in range(2))
    sent = {"grant_type": "client_credentials"}
    for number, world in enumerate((one, two, one)):
        address = f"192.0.2.{number}"
        assert (await post(world, "/token", sent, address, auth=("job", "s" * 32))).status_code == 200

    last = await post(two, "/token", sent, "192.0.2.9", auth=("job", "s" * 32))
    assert refused(last)
    assert last.json()["error"] == "temporarily_unavailable"


async def test_authorization_requests_are_counted_by_client_too(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(public_client=2))
    client, other, pkce = await world.register(), await world.register(), world.pkce()
    async with world.browser() as http:
        for _ in range(2):
            assert (await http.get("/authorize", params=world.question(client, pkce))).status_code == 200
        page = await http.get("/authorize", params=world.question(client, pkce))
        assert refused(page)
        assert "location" not in page.headers
        assert (await http.get("/authorize", params=world.question(other, pkce))).status_code == 200


async def test_a_person_is_counted_through_all_clients_and_what_was_presented_stays_good(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(person=2))
    tokens = await world.tokens()  # a sign-in, and its tokens

    too_soon = await world.refresh(tokens["client"], tokens["refresh_token"])
    assert (await world.tokens(user="bob"))["scope"] == "mcp"
    world.clock.pass_(int(too_soon.headers["retry-after"]))
    later = await world.refresh(tokens["client"], tokens["refresh_token"])

    assert refused(too_soon)
    assert later.status_code == 200


async def test_who_guesses_secrets_is_not_told_when_a_guess_is_right(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(guess=3))
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    sent = {"client_id": client["client_id"], "token": "x"}
    right = sent | {"client_secret": client["client_secret"]}
    for path in ("/token", "/introspect", "/revoke"):
        data = sent | {"client_secret": "guess", "grant_type": "refresh_token", "refresh_token": "x"}
        assert (await post(world, path, data)).status_code == 401

    assert refused(await post(world, "/introspect", right))
    assert (await post(world, "/introspect", right, "198.51.100.1")).status_code == 200


async def test_the_pages_of_the_identity_provider_are_counted(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(login=1))
    async with world.browser() as http:
        first = await http.get("/fakeupstreamauth/authorize")
        second = await http.post("/fakeupstreamauth/redirect", data={})
        third = await http.get("/upstream/callback")

    assert first.status_code == 400
    assert refused(second)
    assert refused(third)


async def test_whoever_guesses_from_one_ipv4_address_on_a_socket_for_both_families_stops_nobody_else(
    make_world: MakeWorld,
) -> None:
    world = make_world(quotas=few(guess=3))
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    right = {"client_id": client["client_id"], "token": "x", "client_secret": client["client_secret"]}
    for guess in range(4):
        await post(world, "/introspect", right | {"client_secret": f"guess {guess}"}, "::ffff:192.0.2.1")

    assert refused(await post(world, "/introspect", right, "::ffff:192.0.2.1"))
    assert refused(await post(world, "/introspect", right, "192.0.2.1"))
    assert (await post(world, "/introspect", right, "::ffff:192.0.2.2")).status_code == 200


async def test_whoever_has_one_address_of_an_ipv6_network_has_all_of_them(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(token=1))
    assert not refused(await post(world, "/token", {}, "2001:db8::1"))
    assert refused(await post(world, "/token", {}, "2001:db8::ffff:1"))
    assert not refused(await post(world, "/token", {}, "2001:db8:0:1::1"))


async def test_a_persons_own_page_is_counted_by_person(make_world: MakeWorld) -> None:
    world = make_world(quotas=few(person=2))
    async with world.browser() as http:
        left = await http.get("/grants")
        picker = await http.get(left.headers["location"])
        picked = await http.post("/fakeupstreamauth/redirect", data=world.hidden(picker.text) | {"user_id": "alice"})
        await http.get(picked.headers["location"])  # the sign-in is the first of two
        statuses = [(await http.get("/grants")).status_code for _ in range(2)]
    assert statuses == [200, 429]
