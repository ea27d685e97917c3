"""A person looks after their connections: seen, made, and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.account.conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_person_signs_in_as_whom_mcp_clients_know_and_sees_what_can_be_connected(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get("/connections")

    assert page.status_code == 200
    assert "Signed in as <bdi>alice</bdi>" in page.text
    assert "Issue &lt;tracker&gt;" in page.text
    assert page.text.count("Not connected") == 2


async def test_connecting_by_oauth_stores_the_account_of_that_person_alone(house: House) -> None:
    async with house.browser("alice") as alice:
        done = await alice.connect()
        assert "is connected" in done.text

    accounts = house.of(1).connectables.find("tracker").accounts
    tokens = await accounts.token(house.person("alice"))
    assert house.provider.person(tokens.access_token) == "alice-there"
    assert (await accounts.status(house.person("bob"))).state == "not_connected"


async def test_pages_run_nothing_foreign_and_are_never_framed_or_kept(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get("/connections")
        listed = await alice.send("GET", "/api/auth/credentials")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"].upper() == "DENY"
    for answer in (page, listed):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in listed.headers["content-security-policy"]


async def test_an_account_whose_record_cannot_be_read_does_not_hide_the_others(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.connect()
        redis: Any = house.workers[0].app.rooms.state.redis
        changed = [key async for key in redis.scan_iter("*vault*") if b"oauth" in await raw(redis, key)]
        for key in changed:
            kept = str(await redis.hget(key, "oauth"))
            await redis.hset(key, "oauth", kept[:-8] + "AAAAAAAA")
        page = await alice.get("/connections")

    assert changed
    assert page.status_code == 200
    assert "Needs reconnecting" in page.text
    assert "Weather" in page.text


async def raw(redis: Any, key: str) -> bytes:
    """The fields of a hash, or nothing of another kind of value."""
    return repr(await redis.hkeys(key)).encode() if await redis.type(key) == "hash" else b""
