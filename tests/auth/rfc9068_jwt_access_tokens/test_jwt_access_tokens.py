"""RFC 9068: access tokens that resource servers can verify without asking."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.auth.conftest import MakeWorld, World


@pytest.fixture
def jwt_world(make_world: MakeWorld) -> Any:
    return make_world(access_tokens="jwt")


async def published(world: World) -> Any:
    """The key set, by the address that the metadata names."""
    async with world.browser() as http:
        address = (await http.get("/.well-known/oauth-authorization-server")).json()["jwks_uri"]
        return (await http.get(address)).json()


def kid(token: str) -> str:
    """Which key signed it."""
    header: dict[str, str] = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    return header["kid"]


async def test_a_token_can_be_verified_by_the_published_keys(jwt_world: Any) -> None:
    """AUTH.md row 26."""
    tokens = await jwt_world.tokens()

    found = jwt.decode(tokens["access_token"], KeySet.import_key_set(await published(jwt_world)), algorithms=["ES256"])

    assert (found.header["typ"], found.header["alg"]) == ("at+jwt", "ES256")
    assert found.claims.pop("jti")
    assert found.claims == {
        "iss": "http://localhost:3001",
        "sub": "alice",
        "client_id": tokens["client"]["client_id"],
        "scope": "mcp",
        "aud": "http://localhost:3232/mcp",
        "iat": 1_800_000_000,
        "exp": 1_800_000_600,
    }
    assert tokens["expires_in"] == 600


async def test_the_private_key_is_not_published_nor_readable_in_redis(jwt_world: Any) -> None:
    """AUTH.md row 27."""
    await jwt_world.tokens()

    for key in (await published(jwt_world))["keys"]:
        assert "d" not in key
    stored = await jwt_world.redis.hgetall("auth:signing-keys")
    assert all('"d"' not in value and "kty" not in value for value in stored.values())


async def test_whoever_asks_sees_a_revocation_at_once(jwt_world: Any) -> None:
    """AUTH.md row 26."""
    tokens = await jwt_world.tokens()
    assert await jwt_world.server.introspect_token(tokens["access_token"])

    await jwt_world.server.revoke("user", "alice")

    assert await jwt_world.server.introspect_token(tokens["access_token"]) is None


async def test_refresh_and_replay_work_as_with_opaque_tokens(jwt_world: Any) -> None:
    tokens = await jwt_world.tokens()
    new = (await jwt_world.refresh(tokens["client"], tokens["refresh_token"])).json()
    assert await jwt_world.server.introspect_token(new["access_token"])
    jwt_world.clock.pass_(31)
    await jwt_world.refresh(tokens["client"], tokens["refresh_token"])

    assert await jwt_world.server.introspect_token(new["access_token"]) is None


async def test_all_workers_sign_with_one_key_and_opaque_tokens_from_before_stay_good(make_world: MakeWorld) -> None:
    before = await make_world().tokens()
    one, two = make_world(access_tokens="jwt"), make_world(access_tokens="jwt")
    made = [(await world.tokens())["access_token"] for world in (one, two)]

    assert len((await published(one))["keys"]) == 1
    assert [bool(await one.server.introspect_token(token)) for token in made] == [True, True]
    assert await two.server.introspect_token(before["access_token"])


async def test_keys_rotate_by_themselves_and_old_tokens_stay_verifiable(jwt_world: Any) -> None:
    """AUTH.md row 26."""
    await jwt_world.tokens()
    jwt_world.clock.pass_(30 * 86_400 - 60)
    last = await jwt_world.tokens(user="bob")
    jwt_world.clock.pass_(120)
    new = await jwt_world.tokens(user="carol")

    keys = await published(jwt_world)
    for tokens in (last, new):
        assert jwt.decode(tokens["access_token"], KeySet.import_key_set(keys), algorithms=["ES256"])
        assert await jwt_world.server.introspect_token(tokens["access_token"])
    assert len(keys["keys"]) == 2
    jwt_world.clock.pass_(86_400)
    assert len((await published(jwt_world))["keys"]) == 1


async def test_a_new_key_is_published_before_it_signs_so_that_verifiers_who_just_looked_know_it(jwt_world: Any) -> None:
    """A verifier looks again for an unknown key id at most every 30 seconds: a token must never come before its key."""
    first = kid((await jwt_world.tokens())["access_token"])
    jwt_world.clock.pass_(1)
    new = await jwt_world.server.change_signing_keys(keep_old=True)

    assert [key["kid"] for key in (await published(jwt_world))["keys"]] == [new, first]
    assert kid((await jwt_world.tokens(user="bob"))["access_token"]) == first
    jwt_world.clock.pass_(601)
    assert kid((await jwt_world.tokens(user="carol"))["access_token"]) == new


async def test_a_key_that_leaked_is_replaced_at_once(jwt_world: Any) -> None:
    tokens = await jwt_world.tokens()
    new = await jwt_world.server.change_signing_keys(keep_old=False)

    assert [key["kid"] for key in (await published(jwt_world))["keys"]] == [new]
    assert await jwt_world.server.introspect_token(tokens["access_token"]) is None
    assert kid((await jwt_world.tokens())["access_token"]) == new


async def test_keys_sealed_with_a_secret_key_that_is_gone_are_made_anew(make_world: MakeWorld) -> None:
    before = make_world(access_tokens="jwt", secret_keys=("o" * 32,))
    await before.tokens()
    after = make_world(access_tokens="jwt", secret_keys=("n" * 32,))
    assert await after.server.introspect_token((await after.tokens())["access_token"])


async def test_a_token_signed_by_somebody_else_is_nothing(jwt_world: Any, make_world: MakeWorld) -> None:
    other = make_world(access_tokens="jwt", prefix="other:")
    tokens = await other.tokens()

    assert await jwt_world.server.introspect_token(tokens["access_token"]) is None
