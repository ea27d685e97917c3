"""Requests are counted for the fleet, by address."""

from __future__ import annotations

from typing import Any

from auth_server.limits import LIMITS

BODY = {"redirect_uris": ["http://localhost/cb"]}


async def from_address(world: Any, address: str) -> Any:
    """A registration from somewhere."""
    async with world.browser(client=(address, 1)) as http:
        return await http.post("/register", json=BODY)


async def test_registrations_are_limited_by_address_on_all_workers_together(make_world: Any) -> None:
    """AUTH.md row 18."""
    one, two = make_world(), make_world()
    for number in range(LIMITS["register"].count):
        assert (await from_address((one, two)[number % 2], "192.0.2.1")).status_code == 201

    refused = await from_address(two, "192.0.2.1")

    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= LIMITS["register"].window + 1
    assert refused.headers["access-control-allow-origin"] == "*"
    assert (await from_address(one, "192.0.2.2")).status_code == 201
    one.clock.pass_(int(refused.headers["retry-after"]))
    assert (await from_address(one, "192.0.2.1")).status_code == 201


async def test_pages_are_limited_too_and_say_so_as_pages(world: Any) -> None:
    async with world.browser() as http:
        for _ in range(LIMITS["authorize"].count):
            await http.get("/authorize")
        page = await http.get("/authorize")

    assert page.status_code == 429
    assert page.headers["retry-after"]
    assert page.headers["content-type"].startswith("text/html")


async def test_limits_can_be_switched_off(make_world: Any) -> None:
    world = make_world(rate_limits=False)
    async with world.browser() as http:
        statuses = {(await http.get("/authorize")).status_code for _ in range(LIMITS["authorize"].count + 5)}

    assert statuses == {400}
