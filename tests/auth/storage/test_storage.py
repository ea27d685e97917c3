"""What is in Redis, and what is not; keys that change; Redis that is away."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from auth_server.keys import TABLE, Keys
from switchboard.errors import StateUnavailable
from tests.auth.conftest import MakeWorld, World


async def everything(redis: Any) -> dict[str, str]:
    """All keys with their values as text."""
    found = {}
    readers = {"string": "get", "hash": "hgetall", "stream": "xrange"}
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        if kind == "none":
            continue  # a count that has just expired
        arguments = (key, 0, -1) if kind == "zset" else (key,)
        found[key] = str(await getattr(redis, readers.get(kind, "zrange"))(*arguments))
    return found


async def test_neither_keys_nor_values_hold_anything_that_opens_a_door(world: World) -> None:
    """AUTH.md row 27."""
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    pkce = world.pkce()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, pkce))
        pending = world.hidden(page.text)
        cookie = next(iter(http.cookies.values()))
        left = await http.post("/consent", data=pending | {"decision": "allow"})
        state = world.query(left.headers["location"])["state"]
        code = (await world.authorize(http, client, pkce))["code"]
    tokens = (await world.redeem(client, code, pkce, client_secret=client["client_secret"])).json()
    newer = (await world.refresh(client, tokens["refresh_token"], client_secret=client["client_secret"])).json()

    dump = str(await everything(world.redis))

    doors = [client["client_secret"], client["registration_access_token"], *pending.values(), cookie, state, code]
    doors += [pkce.verifier, *(pair[kind] for pair in (tokens, newer) for kind in ("access_token", "refresh_token"))]
    assert [door for door in doors if door in dump] == []
    secrets = [door[26:] for door in doors if door.startswith("sb")]
    assert [secret for secret in secrets if secret in dump] == []


async def test_the_grant_itself_cannot_be_read_without_a_token(world: World) -> None:
    """AUTH.md row 27: the payload is sealed under the token."""
    await world.tokens(user="very-recognizable-user")
    audit = "auth:audit"

    found = await everything(world.redis)

    assert [key for key, value in found.items() if "very-recognizable-user" in key + value] == [audit]


async def test_every_key_is_in_the_table_and_has_an_end(world: World) -> None:
    tokens = await world.tokens()
    await world.refresh(tokens["client"], tokens["refresh_token"])
    await world.server.revoke("user", "somebody")
    patterns = [re.sub(r"(\\\{)+\w+(\\\})+", "[^:]+", re.escape(row.pattern)) for row in TABLE.values()]

    endless = set()
    async for key in world.redis.scan_iter():
        assert any(re.fullmatch(pattern, key) for pattern in patterns), key
        if await world.redis.pttl(key) == -1:
            endless.add(key)

    assert endless <= {"auth:audit", "auth:clients:unused"}, "both are bounded by count"


async def test_every_key_starts_with_the_prefix(make_world: MakeWorld) -> None:
    world = make_world(prefix="blue:")
    await world.tokens()

    assert {key.partition(":")[0] async for key in world.redis.scan_iter()} == {"blue"}


def test_what_a_script_touches_together_is_in_one_slot() -> None:
    keys = Keys("p:")
    names = [keys.name("family", family="F"), *(keys.name(row, family="F", mac="M") for row in ("access", "grace"))]

    assert {re.findall(r"\{([^}]*)\}", name)[0] for name in names} == {"F"}


async def test_rotating_the_secret_key_logs_nobody_out(make_world: MakeWorld) -> None:
    old = make_world(secret_keys=("old",))
    client = await old.register(token_endpoint_auth_method="client_secret_post")
    pkce = old.pkce()
    async with old.browser() as http:
        code = (await old.authorize(http, client, pkce))["code"]
        under_way = await http.get("/authorize", params=old.question(client, pkce))
        cookies = dict(http.cookies)
    rotated = make_world(secret_keys=("new", "old"))
    secret = {"client_secret": client["client_secret"]}

    tokens = (await rotated.redeem(client, code, pkce, **secret)).json()
    before = await old.tokens()
    refreshed = await rotated.refresh(before["client"], before["refresh_token"])

    assert await rotated.server.introspect_token(tokens["access_token"])
    assert await rotated.server.introspect_token(before["access_token"])
    assert refreshed.status_code == 200
    again = await rotated.refresh(before["client"], before["refresh_token"])
    assert again.json()["refresh_token"] == refreshed.json()["refresh_token"]
    async with rotated.browser() as http:
        http.cookies.update(cookies)
        went_on = await http.post("/consent", data=rotated.hidden(under_way.text) | {"decision": "allow"})
    assert went_on.status_code == 303
    assert await rotated.server.revoke("user", "alice") == 2


async def test_a_key_that_is_gone_ends_what_it_made(make_world: MakeWorld) -> None:
    tokens = await make_world(secret_keys=("leaked",)).tokens()

    assert await make_world(secret_keys=("fresh",)).server.introspect_token(tokens["access_token"]) is None


@pytest.fixture
def nowhere() -> Any:
    """A Redis client whose server is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Redis(host="127.0.0.1", port=port, decode_responses=True, retry=Retry(NoBackoff(), 0))


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_without_redis_the_api_and_the_pages_say_try_again(make_world: MakeWorld, nowhere: Any) -> None:
    """AUTH.md row 6."""
    world = make_world(redis=nowhere)
    async with world.browser() as http:
        api = await http.post("/register", json={"redirect_uris": ["http://localhost/cb"]})
        page = await http.get("/authorize", params={"client_id": "x"})

    for response in (api, page):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
    assert api.json()["error"] == "temporarily_unavailable"
    assert "Traceback" not in page.text
    tokens = await make_world().tokens()
    with pytest.raises(StateUnavailable):
        await world.server.introspect_token(tokens["access_token"])
