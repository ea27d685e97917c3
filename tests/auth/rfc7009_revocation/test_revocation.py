"""RFC 7009, and revoking whole users and clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from auth_server import StaticClient
from auth_server.store.scripts import ISSUE
from tests.auth.conftest import MakeWorld, World


async def revoke(world: World, client: dict[str, Any], token: str, **more: Any) -> Any:
    """A revocation request."""
    async with world.browser() as http:
        return await http.post("/revoke", data={"client_id": client["client_id"], "token": token} | more)


async def test_a_public_client_revokes_its_refresh_token_and_with_it_the_family(world: World) -> None:
    """AUTH.md row 22."""
    tokens = await world.tokens()

    response = await revoke(world, tokens["client"], tokens["refresh_token"])

    assert response.status_code == 200
    assert await world.server.introspect_token(tokens["access_token"]) is None
    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_revoking_an_access_token_leaves_the_refresh_token(world: World) -> None:
    """AUTH.md row 22."""
    tokens = await world.tokens()

    await revoke(world, tokens["client"], tokens["access_token"], token_type_hint="refresh_token")

    assert await world.server.introspect_token(tokens["access_token"]) is None
    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_somebody_elses_token_stays_and_the_answer_does_not_tell(world: World, kind: str) -> None:
    """AUTH.md row 22: only one's own."""
    tokens, other = await world.tokens(), await world.register()

    response = await revoke(world, other, tokens[kind])

    assert (response.status_code, response.content) == (200, b"")
    assert await world.server.introspect_token(tokens["access_token"])
    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).status_code == 200


async def test_an_unknown_token_is_fine_and_an_unknown_client_is_not(world: World) -> None:
    client = await world.register()

    assert (await revoke(world, client, "nonsense")).status_code == 200
    stranger = await revoke(world, {"client_id": "stranger"}, "nonsense")
    assert (stranger.status_code, stranger.json()["error"]) == (401, "invalid_client")


async def test_revoking_a_user_ends_all_their_authorizations_on_every_worker_and_nobody_elses(
    make_world: MakeWorld,
) -> None:
    """AUTH.md row 29."""
    one, two = make_world(), make_world()
    alices = [await one.tokens(user="alice"), await two.tokens(user="alice")]
    bobs = await one.tokens(user="bob")

    assert await one.server.revoke("user", "alice") == 2

    for tokens in alices:
        assert await two.server.introspect_token(tokens["access_token"]) is None
        assert (await two.refresh(tokens["client"], tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert await two.server.introspect_token(bobs["access_token"])


async def test_revoking_a_client_ends_what_it_got_from_everybody(world: World) -> None:
    """AUTH.md row 29."""
    client = await world.register()
    theirs = [await world.tokens(client, user=user) for user in ("alice", "bob")]
    others = await world.tokens(user="alice")

    await world.server.revoke("client", client["client_id"])

    assert [await world.server.introspect_token(tokens["access_token"]) for tokens in theirs] == [None, None]
    assert await world.server.introspect_token(others["access_token"])


async def test_revoking_all_ends_all_and_people_can_sign_in_again(world: World) -> None:
    """AUTH.md row 29."""
    tokens = [await world.tokens(user=user) for user in ("alice", "bob")]

    assert await world.server.revoke("all") == 2

    assert [await world.server.introspect_token(item["access_token"]) for item in tokens] == [None, None]
    again = await world.tokens(user="alice")
    assert await world.server.introspect_token(again["access_token"])
    assert (await world.refresh(again["client"], again["refresh_token"])).status_code == 200


async def test_a_code_from_before_the_revocation_is_worth_nothing(world: World) -> None:
    """AUTH.md row 29: what was under way ends too."""
    client = await world.register()
    pkce = world.pkce()
    async with world.browser() as http:
        code = (await world.authorize(http, client, pkce, "alice"))["code"]
    await world.server.revoke("user", "alice")

    assert (await world.redeem(client, code, pkce)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("by", ["user", "client", "all"])
async def test_a_code_written_while_whose_it_is_was_revoked_cannot_be_redeemed(
    world: World, by: Literal["user", "client", "all"]
) -> None:
    """The mark outlives the sweep, so a code that the sweep missed is refused when it is redeemed."""
    client, pkce = await world.register(), world.pkce()
    async with world.browser() as http:
        code = (await world.authorize(http, client, pkce, "alice"))["code"]
    family = f"auth:family:{{{code[4:26]}}}"
    missed = await world.redis.hgetall(family)
    await world.server.revoke(by, {"user": "alice", "client": client["client_id"], "all": ""}[by])
    await world.redis.hset(family, mapping=missed)

    assert (await world.redeem(client, code, pkce)).json()["error"] == "invalid_grant"


async def test_a_family_written_while_its_user_was_revoked_cannot_be_used(world: World) -> None:
    """AUTH.md row 29: the mark outlives the sweep, so a write that the sweep missed is refused at its next use."""
    tokens = await world.tokens(user="alice")
    family = f"auth:family:{{{tokens['refresh_token'][4:26]}}}"
    missed = await world.redis.hgetall(family)
    await world.server.revoke("user", "alice")
    await world.redis.hset(family, mapping=missed)

    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).json()["error"] == "invalid_grant"


class Meanwhile:
    """A Redis that does something else just before it stores a token."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self.first: Callable[[], Awaitable[object]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def eval(self, *args: Any) -> Any:
        """Once."""
        if args[0] == ISSUE and self.first is not None:
            first, self.first = self.first, None
            await first()
        return await self._redis.eval(*args)


async def test_a_machines_token_that_was_made_while_it_was_revoked_is_dead(make_world: MakeWorld, redis: Any) -> None:
    """AUTH.md row 29: between being listed and being written it is not there to be deleted."""
    between = Meanwhile(redis)
    world = make_world(redis=between, clients=(StaticClient(id="job", secret="s" * 32, scope="mcp"),))
    between.first = lambda: world.server.revoke("client", "job")
    sent = {"grant_type": "client_credentials"}

    during = await world.token(sent, auth=("job", "s" * 32))
    after = await world.token(sent, auth=("job", "s" * 32))

    assert (during.status_code, during.json()["error"]) == (400, "invalid_grant")
    assert len(await redis.keys("auth:family:*")) == 1
    assert await world.server.introspect_token(after.json()["access_token"])


async def test_the_audit_trail_tells_who_was_granted_and_refused_what_and_holds_no_secret(world: World) -> None:
    """AUTH.md row 29."""
    tokens = await world.tokens(user="alice")
    await world.refresh(tokens["client"], tokens["refresh_token"] + "x")
    await world.server.revoke("user", "alice")

    entries = [fields for _, fields in await world.redis.xrange("auth:audit")]

    assert [entry["event"] for entry in entries] == [
        "client.registered",
        "consent.given",
        "authorization.granted",
        "tokens.issued",
        "token_request.refused",
        "grants.revoked",
    ]
    assert {entry["client"] for entry in entries[:5]} == {tokens["client"]["client_id"]}
    assert entries[2]["subject"] == "alice"
    told = str(entries)
    assert tokens["access_token"] not in told
    assert tokens["refresh_token"] not in told


async def test_nothing_in_the_log_or_the_trail_is_a_part_of_a_token(world: World) -> None:
    """A family's name stands in each of its tokens, so it is written down as a hash."""
    with capture_logs() as logged:
        tokens = await world.tokens()
        newer = (await world.refresh(tokens["client"], tokens["refresh_token"])).json()
    written = [str(event) for event in logged] + [str(entry) for entry in await world.redis.xrange("auth:audit")]
    family = tokens["access_token"][4:26]

    assert newer["access_token"][4:26] == family
    assert any("family" in line for line in written)
    assert [line for line in written if family in line] == []
