"""RFC 9700 §4.14: rotation, families, and a grace for those who raced."""

from __future__ import annotations

import asyncio

import pytest

from tests.auth.conftest import MakeWorld, World


async def test_refreshing_gives_new_tokens_for_the_same_grant(world: World) -> None:
    """AUTH.md row 19."""
    old = await world.tokens(scope="mcp admin")

    new = (await world.refresh(old["client"], old["refresh_token"])).json()

    assert new["refresh_token"] != old["refresh_token"]
    assert new["access_token"] != old["access_token"]
    assert new["scope"] == "mcp admin"
    claims = await world.claims(new["access_token"])
    assert (claims["sub"], claims["aud"]) == ("alice", "http://localhost:3232/mcp")


async def test_within_the_grace_an_old_token_gives_the_same_successor(world: World) -> None:
    """AUTH.md row 19."""
    old = await world.tokens()
    first = (await world.refresh(old["client"], old["refresh_token"])).json()
    world.clock.pass_(29)

    second = (await world.refresh(old["client"], old["refresh_token"])).json()

    assert second == first | {"expires_in": first["expires_in"] - 29}


async def test_after_the_grace_an_old_token_ends_the_family(world: World) -> None:
    """AUTH.md row 19."""
    old = await world.tokens()
    new = (await world.refresh(old["client"], old["refresh_token"])).json()
    world.clock.pass_(31)

    replay = await world.refresh(old["client"], old["refresh_token"])

    assert replay.json()["error"] == "invalid_grant"
    assert await world.server.introspect_token(new["access_token"]) is None
    assert (await world.refresh(old["client"], new["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("mark", ["sbr", "sbc", "sba"])
async def test_a_forgery_is_not_a_replay_and_ends_nothing(world: World, mark: str) -> None:
    """Who knows a family's name, from an access token of it, can neither use it nor end it."""
    tokens = await world.tokens()
    forged = f"{mark}_{tokens['access_token'][4:26]}{'A' * 43}"

    refreshed = await world.refresh(tokens["client"], forged)
    redeemed = await world.redeem(tokens["client"], forged, world.pkce())

    assert (refreshed.json()["error"], redeemed.json()["error"]) == ("invalid_grant", "invalid_grant")
    assert await world.server.introspect_token(forged) is None
    assert await world.server.introspect_token(tokens["access_token"])
    assert (await world.refresh(tokens["client"], tokens["refresh_token"])).status_code == 200


async def test_a_chain_of_quick_refreshes_is_not_taken_for_a_replay(world: World) -> None:
    """AUTH.md row 19: each old token keeps its own grace."""
    first = await world.tokens()
    second = (await world.refresh(first["client"], first["refresh_token"])).json()
    third = (await world.refresh(first["client"], second["refresh_token"])).json()

    again = (await world.refresh(first["client"], first["refresh_token"])).json()

    assert again["refresh_token"] == second["refresh_token"]
    assert await world.server.introspect_token(third["access_token"])


async def test_fifty_at_once_get_one_successor(make_world: MakeWorld) -> None:
    """AUTH.md row 30, over two workers."""
    worlds = [make_world(), make_world()]
    old = await worlds[0].tokens()

    answers = await asyncio.gather(*(worlds[n % 2].refresh(old["client"], old["refresh_token"]) for n in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({answer.json()["access_token"] for answer in answers}) == 1


async def test_fifty_redemptions_of_one_code_give_one_success_and_its_replay_kills_the_family(
    make_world: MakeWorld,
) -> None:
    """AUTH.md row 15, over two workers."""
    worlds = [make_world(), make_world()]
    client = await worlds[0].register()
    pkce = worlds[0].pkce()
    async with worlds[0].browser() as http:
        code = (await worlds[0].authorize(http, client, pkce))["code"]

    answers = await asyncio.gather(*(worlds[n % 2].redeem(client, code, pkce) for n in range(50)))

    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.json()["error"] for answer in answers if answer.status_code != 200} == {"invalid_grant"}
    assert await worlds[1].server.introspect_token(won[0]["access_token"]) is None


async def test_scopes_may_be_narrowed_for_one_access_token_and_not_widened(world: World) -> None:
    """AUTH.md row 19."""
    old = await world.tokens(scope="mcp:tools mcp:prompts")

    wider = await world.refresh(old["client"], old["refresh_token"], scope="mcp:tools admin")
    narrow = (await world.refresh(old["client"], old["refresh_token"], scope="mcp:tools")).json()
    full = (await world.refresh(old["client"], narrow["refresh_token"])).json()

    assert wider.json()["error"] == "invalid_scope"
    assert narrow["scope"] == "mcp:tools"
    assert full["scope"] == "mcp:tools mcp:prompts"


async def test_within_the_grace_a_caller_that_asks_for_less_gets_less_and_the_same_successor(world: World) -> None:
    """RFC 6749 §6: the scope of a refresh holds for whoever asked for it."""
    old = await world.tokens(scope="mcp:tools mcp:prompts")
    first = (await world.refresh(old["client"], old["refresh_token"])).json()

    less = (await world.refresh(old["client"], old["refresh_token"], scope="mcp:tools")).json()
    other = (await world.refresh(old["client"], old["refresh_token"], scope="mcp:prompts")).json()
    same = (await world.refresh(old["client"], old["refresh_token"], scope="mcp:prompts mcp:tools")).json()
    wider = await world.refresh(old["client"], old["refresh_token"], scope="mcp:tools admin")

    told = await world.claims(less["access_token"])
    assert (less["scope"], told["scope"], other["scope"]) == ("mcp:tools", "mcp:tools", "mcp:prompts")
    assert less["refresh_token"] == other["refresh_token"] == first["refresh_token"]
    assert same == first
    assert wider.json()["error"] == "invalid_scope"
    await world.server.revoke_token(first["access_token"])
    assert await world.server.introspect_token(less["access_token"]) is None


async def test_a_client_that_asks_for_what_does_not_exist_refreshes_as_it_signed_in(world: World) -> None:
    asked = "openid mcp:tools offline_access read:everything"
    old = await world.tokens(scope=asked)

    assert old["scope"] == "mcp:tools"
    assert (await world.refresh(old["client"], old["refresh_token"], scope=asked)).json()["scope"] == "mcp:tools"


async def test_another_client_cannot_refresh(world: World) -> None:
    old, other = await world.tokens(), await world.register()

    assert (await world.refresh(other, old["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.refresh(old["client"], old["refresh_token"])).status_code == 200


@pytest.mark.parametrize("asked", [{}, {"resource": "http://localhost:3232/other"}])
async def test_a_refreshed_token_is_for_the_resource_of_the_first_one_and_for_no_other(
    make_world: MakeWorld, asked: dict[str, str]
) -> None:
    """AUTH.md row 13. The resource is not the first one, which requests mean that name none."""
    world = make_world(resources=("http://localhost:3232/mcp", "http://localhost:3232/other"))
    old = await world.tokens(resource="http://localhost:3232/other")

    refused = await world.refresh(old["client"], old["refresh_token"], resource="http://localhost:3232/mcp")
    kept = (await world.refresh(old["client"], old["refresh_token"], **asked)).json()

    assert refused.json()["error"] == "invalid_target"
    assert (await world.claims(kept["access_token"]))["aud"] == "http://localhost:3232/other"


async def test_a_client_that_did_not_register_for_refresh_gets_no_refresh_token(world: World) -> None:
    client = await world.register(grant_types=["authorization_code"])

    tokens = await world.tokens(client)

    assert "refresh_token" not in tokens
    refused = await world.refresh(client, "sbr_x")
    assert refused.json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_tokens_do_not_pass_for_each_other(world: World, kind: str) -> None:
    """AUTH.md row 4."""
    tokens = await world.tokens()
    if kind == "access_token":
        assert (await world.refresh(tokens["client"], tokens[kind])).json()["error"] == "invalid_grant"
    else:
        assert await world.server.introspect_token(tokens[kind]) is None


async def test_an_authorization_ends_after_thirty_days_however_often_it_is_refreshed(world: World) -> None:
    tokens = await world.tokens()
    world.clock.pass_(30 * 86_400 - 100)

    last = (await world.refresh(tokens["client"], tokens["refresh_token"])).json()

    assert last["expires_in"] == 100


async def test_a_family_is_kept_seven_days_from_its_last_refresh(world: World) -> None:
    tokens = await world.tokens()
    family = tokens["refresh_token"][4:26]

    life = await world.redis.pttl(f"auth:family:{{{family}}}")

    assert 0.99 < life / (7 * 86_400_000) <= 1


async def test_refreshing_keeps_a_family_no_longer_than_thirty_days_from_its_beginning(world: World) -> None:
    day_ms = 86_400_000
    tokens = await world.tokens()
    family = f"auth:family:{{{tokens['refresh_token'][4:26]}}}"
    world.clock.pass_(29 * 86_400)

    await world.refresh(tokens["client"], tokens["refresh_token"])

    assert 0.99 < await world.redis.pttl(family) / day_ms <= 1


async def test_the_last_refresh_of_a_family_leaves_nothing_behind(world: World) -> None:
    tokens = await world.tokens()
    family = f"auth:family:{{{tokens['refresh_token'][4:26]}}}"
    world.clock.pass_(30 * 86_400 + 1)

    await world.refresh(tokens["client"], tokens["refresh_token"])

    assert await world.redis.pttl(family) <= 1
