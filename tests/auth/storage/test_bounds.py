"""What somebody who has not signed in can make in Redis is bounded, in number and in bytes."""

from __future__ import annotations

from typing import Any

import pytest

from auth_server.clients.registration import LARGEST
from auth_server.crypto import KeyRing
from auth_server.store import Fetched
from auth_server.store.connection import Connection
from auth_server.store.fetched import Bounds
from tests.auth.conftest import MakeWorld, Site, World

DAY_MS = 86_400_000


async def names(world: World, pattern: str) -> list[str]:
    """The names of keys."""
    return [name async for name in world.redis.scan_iter(match=pattern, count=1000)]


async def documents(world: World) -> int:
    """How many documents of clients are kept, in whatever way."""
    kept = [*await names(world, "auth:document*"), *await names(world, "auth:fetched:document:*")]
    return sum([await world.redis.hlen(one) if await world.redis.type(one) == "hash" else 1 for one in kept])


async def test_allowing_a_client_without_signing_in_does_not_keep_its_registration(make_world: MakeWorld) -> None:
    world = make_world(max_unused_clients=3)
    client = await world.register()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, world.pkce()))
        left = await http.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})
    assert left.status_code == 303
    for _ in range(3):
        world.clock.pass_(1)
        await world.register()

    assert await world.redis.exists(f"auth:client:{client['client_id']}") == 0
    assert len(await names(world, "auth:client:*")) == 3


def big_keys(size: int) -> dict[str, Any]:
    """A key set of about so many bytes."""
    return {"keys": [{"kty": "RSA", "kid": str(number), "e": "AQAB", "n": "A" * (size // 20)} for number in range(20)]}


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks": big_keys(60_000), "token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": [f"https://app.example/{number}/{'a' * 1_900}" for number in range(20)]},
        dict.fromkeys(("client_uri", "jwks_uri"), "https://app.example/" + "a" * 1900)
        | {"redirect_uris": [f"https://a.example/{number}/{'a' * 1_500}" for number in range(4)]},
    ],
)
async def test_a_large_registration_is_refused_with_the_bound_and_cannot_be_made_by_changing_one(
    world: World, changes: dict[str, Any]
) -> None:
    asked = {"redirect_uris": ["http://127.0.0.1/cb"]} | changes
    client = await world.register()
    token = {"Authorization": f"Bearer {client['registration_access_token']}"}
    async with world.browser() as http:
        made = await http.post("/register", json=asked)
        changed = await http.put(
            f"/register/{client['client_id']}", json=asked | {"client_id": client["client_id"]}, headers=token
        )

    for answer in (made, changed):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
        assert str(LARGEST) in answer.json()["error_description"]
    stored = [await world.redis.get(name) for name in await names(world, "auth:client:*")]
    assert [len(each) <= LARGEST + 500 for each in stored] == [True]


async def test_of_a_clients_keys_only_what_verifies_is_kept(world: World) -> None:
    key = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "one", "use": "sig"}
    certified = key | {"x5c": ["A" * 10_000], "x5t": "A", "made up": "A" * 10_000}
    made = await world.register(jwks={"keys": [certified]}, token_endpoint_auth_method="private_key_jwt")
    assert made["jwks"] == {"keys": [key]}


async def test_a_document_is_kept_only_once_a_request_named_an_address_of_it(
    make_world: MakeWorld, fetcher: Any, site: Site
) -> None:
    world = make_world(fetcher=fetcher)
    wrong = {"client_id": site.client_id, "redirect_uris": ["http://127.0.0.1:4000/elsewhere"]}
    right = {"client_id": site.client_id, "redirect_uris": ["http://127.0.0.1:4000/cb"]}
    async with world.browser() as http:
        refused = await http.get("/authorize", params=world.question(wrong, world.pkce()))
        assert refused.status_code == 400
        assert await documents(world) == 0
        for _ in range(2):
            assert (await http.get("/authorize", params=world.question(right, world.pkce()))).status_code == 200

    assert await documents(world) == 1
    assert len(site.requests) == 2


async def test_a_document_is_kept_once_its_client_got_tokens(make_world: MakeWorld, fetcher: Any, site: Site) -> None:
    world = make_world(fetcher=fetcher)
    site.describe(grant_types=["authorization_code", "refresh_token"])
    tokens = await world.tokens({"client_id": site.client_id, "redirect_uris": ["http://127.0.0.1:4000/cb"]})
    world.clock.pass_(3_000)
    refused = await world.refresh(tokens["client"], "wrong")
    asked = len(site.requests)
    assert refused.status_code == 400
    first = await world.refresh(tokens["client"], tokens["refresh_token"])
    second = await world.refresh(tokens["client"], first.json()["refresh_token"])

    assert [first.status_code, second.status_code] == [200, 200]
    assert len(site.requests) == asked + 1, "the wrong token kept nothing, the right one did"


async def test_documents_of_one_host_are_bounded_whatever_their_query(
    make_world: MakeWorld, fetcher: Any, site: Site
) -> None:
    world = make_world(fetcher=fetcher)
    for number in range(20):
        client_id = f"{site.client_id}?n={number}"
        site.describe(client_id=client_id)
        client = {"client_id": client_id, "redirect_uris": ["http://127.0.0.1:4000/cb"]}
        async with world.browser() as http:
            assert (await http.get("/authorize", params=world.question(client, world.pkce()))).status_code == 200

    assert await documents(world) <= Bounds().of_a_host


def fetched(world: World, **bounds: int) -> Fetched:
    """A store of documents with small bounds."""
    return Fetched(Connection(world.redis), KeyRing(("k" * 32,)), "document", Bounds(**bounds), world.clock)


async def test_hosts_are_bounded_and_the_one_written_longest_ago_makes_room(world: World) -> None:
    store = fetched(world, hosts=3)
    for number in range(5):
        world.clock.pass_(1)
        await store.keep(f"https://{number}.example/c", number, 300)

    assert [await store.find(f"https://{number}.example/c") for number in range(5)] == [None, None, 2, 3, 4]
    assert len(await names(world, "auth:fetched:document:*")) == 3
    for name in await names(world, "auth:*"):
        assert 0 < await world.redis.pttl(name) <= DAY_MS, name


async def test_one_host_fills_its_own_share_however_it_is_written(world: World) -> None:
    store = fetched(world, of_a_host=2)
    await store.keep("https://other.example/c", "other", 300)
    for number, host in enumerate(("app.example", "APP.example", "app.example.", "app.example:8443", "app.example:1")):
        await store.keep(f"https://{host}/c?n={number}", number, 300)

    assert await store.find("https://app.example:1/c?n=4") == 4
    assert await store.find("https://other.example/c") == "other"
    assert await documents(world) <= 3


async def test_what_is_large_or_old_is_not_there(world: World) -> None:
    store = fetched(world, bytes=1_000, seconds=600)
    await store.keep("https://app.example/large", "A" * 1_000, 300)
    await store.keep("https://app.example/small", "A", 300)
    await store.keep("https://app.example/long", "A", 10_000)
    assert [await store.find(f"https://app.example/{name}") for name in ("large", "small")] == [None, "A"]
    world.clock.pass_(301)
    assert [await store.find(f"https://app.example/{name}") for name in ("small", "long")] == [None, "A"]
    world.clock.pass_(300)
    assert await store.find("https://app.example/long") is None


async def test_authorizations_under_way_are_bounded_at_each_step_and_the_newest_go_on(make_world: MakeWorld) -> None:
    world = make_world(max_records=5)
    client = await world.register()
    async with world.browser() as http:
        for _ in range(8):
            world.clock.pass_(1)
            page = await http.get("/authorize", params=world.question(client, world.pkce(), state="s" * 4_096))
        assert len(await names(world, "auth:pending:*")) == 5
        for _ in range(8):
            world.clock.pass_(1)
            await http.get("/grants")
        assert len(await names(world, "auth:login:*")) == 5
        left = await http.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})
        picker = world.hidden((await http.get(left.headers["location"])).text)
        for _ in range(8):
            world.clock.pass_(1)
            picked = await http.post("/fakeupstreamauth/redirect", data=picker | {"user_id": "alice"})
        assert len(await names(world, "auth:fake-code:*")) == 5
        back = await http.get(picked.headers["location"])

    assert "code" in world.query(back.headers["location"])
    sizes = [
        await world.redis.strlen(name) for kind in ("pending", "login") for name in await names(world, f"auth:{kind}:*")
    ]
    assert max(sizes) <= 16_384


@pytest.mark.parametrize("state", ["\U0001f600" * 4_096, "\x00" * 4_096, "\u4e2d" * 4_096])
async def test_a_state_is_bounded_as_it_is_kept(world: World, state: str) -> None:
    client = await world.register()
    async with world.browser() as http:
        answer = await http.get("/authorize", params=world.question(client, world.pkce(), state=state))
    told = world.query(answer.headers["location"])
    assert (told["error"], told["error_description"]) == ("invalid_request", "state is too long")
    assert "state" not in told
    assert await names(world, "auth:pending:*") == []


async def test_an_authorization_that_was_finished_makes_room(make_world: MakeWorld) -> None:
    world = make_world(max_records=2)
    client = await world.register()
    async with world.browser() as waiting:
        page = await waiting.get("/authorize", params=world.question(client, world.pkce()))
        for _ in range(4):
            await world.tokens(client)
        left = await waiting.post("/consent", data=world.hidden(page.text) | {"decision": "allow"})
    assert left.status_code == 303


async def test_whoever_registers_and_unregisters_leaves_a_mark_for_minutes_only(world: World) -> None:
    unused, used = await world.register(), await world.register()
    await world.tokens(used)
    lives = []
    for client in (unused, used):
        before = set(await names(world, "auth:cut:client:*"))
        async with world.browser() as http:
            gone = await http.delete(
                f"/register/{client['client_id']}",
                headers={"Authorization": f"Bearer {client['registration_access_token']}"},
            )
        assert gone.status_code == 204
        (mark,) = set(await names(world, "auth:cut:client:*")) - before
        lives.append(await world.redis.pttl(mark))

    code_ms = world.settings.lifetimes.code * 1000
    assert code_ms < lives[0] <= 2 * code_ms
    assert lives[1] > 29 * DAY_MS


async def test_fields_of_the_audit_trail_are_bounded_in_bytes(world: World) -> None:
    await world.register(client_name="\U0001f600" * 100)
    ((_, entry), *_) = await world.redis.xrevrange("auth:audit")
    assert entry["event"] == "client.registered"
    assert 0 < len(entry["name"].encode()) <= 200
