"""Tokens verified beside the authorization server: what a worker keeps of them lets nobody in who is out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from mcp_types import InitializeRequestParams

from auth_server import AuthorizationServer
from auth_server.settings import AuthSettings
from switchboard.identity import InProcessVerifier
from switchboard.sessions.records import Records
from switchboard.state import State, open_state
from tests.auth.conftest import ISSUER, KEY, RESOURCE, MakeWorld, World
from tests.state.relay import Relay

CLIENT = InitializeRequestParams.model_validate(
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
)


@dataclass
class Workers:
    """Two workers over one Redis, each with a verifier that has seen the token before."""

    world: World
    states: list[State]
    verifiers: list[InProcessVerifier]

    async def subjects(self, token: str) -> list[str | None]:
        """Whose the token is, to each worker."""
        found = [await verifier.verify(token) for verifier in self.verifiers]
        return [principal.subject if principal else None for principal in found]


def verifier(world: World, state: State, settings: AuthSettings | None = None) -> InProcessVerifier:
    server = AuthorizationServer(settings or world.settings, state.redis, clock=world.clock, lookups=state.lookups)
    return InProcessVerifier(server.access_tokens, issuer=ISSUER, resource=RESOURCE, clock=world.clock)


@pytest.fixture
def redis() -> None:
    """Every world here is made on the store of a worker."""


@pytest.fixture(params=["redis", "memory://"])
async def workers(request: pytest.FixtureRequest, make_world: MakeWorld) -> AsyncIterator[Workers]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with AsyncExitStack() as stack:
        states = [await stack.enter_async_context(open_state(url)) for _ in range(2 if url else 1)]
        world = make_world(redis=states[0].redis)
        yield Workers(world, states, [verifier(world, state) for state in states * (1 if url else 2)])


async def revoke_the_token(world: World, tokens: dict[str, Any]) -> None:
    async with world.browser() as http:
        await http.post("/revoke", data={"client_id": tokens["client"]["client_id"], "token": tokens["access_token"]})


async def revoke_its_refresh_token(world: World, tokens: dict[str, Any]) -> None:
    async with world.browser() as http:
        await http.post("/revoke", data={"client_id": tokens["client"]["client_id"], "token": tokens["refresh_token"]})


async def revoke_its_user(world: World, _tokens: dict[str, Any]) -> None:
    await world.server.revoke("user", "alice")


async def revoke_its_client(world: World, tokens: dict[str, Any]) -> None:
    await world.server.revoke("client", tokens["client"]["client_id"])


async def revoke_everything(world: World, _tokens: dict[str, Any]) -> None:
    await world.server.revoke("all")


async def replay_its_refresh_token(world: World, tokens: dict[str, Any]) -> None:
    await world.refresh(tokens["client"], tokens["refresh_token"])
    world.clock.pass_(31)
    await world.redis.delete(*[key async for key in world.redis.scan_iter("auth:grace:*")])
    await world.refresh(tokens["client"], tokens["refresh_token"])


async def let_it_expire(world: World, tokens: dict[str, Any]) -> None:
    world.clock.pass_(tokens["expires_in"])


async def empty_the_store(world: World, _tokens: dict[str, Any]) -> None:
    await world.redis.flushdb()


@pytest.mark.parametrize(
    "end",
    [
        revoke_the_token,
        revoke_its_refresh_token,
        revoke_its_user,
        revoke_its_client,
        revoke_everything,
        replay_its_refresh_token,
        let_it_expire,
        empty_the_store,
    ],
)
async def test_a_token_that_has_ended_is_refused_by_the_next_request_on_every_worker(
    workers: Workers, end: Callable[[World, dict[str, Any]], Awaitable[None]]
) -> None:
    tokens = await workers.world.tokens()
    for _ in range(2):
        assert await workers.subjects(tokens["access_token"]) == ["alice"] * 2

    await end(workers.world, tokens)

    for _ in range(2):
        assert await workers.subjects(tokens["access_token"]) == [None] * 2


async def test_a_token_is_good_from_the_moment_on_that_it_was_given(workers: Workers) -> None:
    tokens = await workers.world.tokens()
    await workers.subjects(tokens["access_token"])
    new = (await workers.world.refresh(tokens["client"], tokens["refresh_token"])).json()
    assert await workers.subjects(new["access_token"]) == ["alice"] * 2
    assert await workers.subjects(tokens["access_token"]) == ["alice"] * 2


async def test_a_token_from_before_the_keys_changed_stays_good_and_is_revoked_like_any_other(workers: Workers) -> None:
    tokens = await workers.world.tokens()
    settings = AuthSettings(
        issuer=ISSUER, resources=(RESOURCE,), secret_keys=("a newer key, not a secret: 012345", KEY), admins=()
    )
    rotated = verifier(workers.world, workers.states[-1], settings)
    for _ in range(2):
        assert await rotated.verify(tokens["access_token"]) is not None
    await revoke_the_token(workers.world, tokens)
    assert await rotated.verify(tokens["access_token"]) is None


async def test_a_jwt_is_refused_as_soon_as_its_signing_key_is_withdrawn(
    workers: Workers, make_world: MakeWorld
) -> None:
    world = make_world(redis=workers.states[0].redis, access_tokens="jwt")
    tokens = await world.tokens()
    verifiers = [verifier(world, state) for state in workers.states]
    for each in (*verifiers, *verifiers):
        assert await each.verify(tokens["access_token"]) is not None

    await world.server.change_signing_keys(keep_old=False)

    for each in verifiers:
        assert await each.verify(tokens["access_token"]) is None


@pytest.mark.parametrize("workers", ["redis"], indirect=True)
async def test_a_token_that_a_worker_has_seen_costs_one_command(workers: Workers, commands: Callable[[], Any]) -> None:
    tokens = await workers.world.tokens()
    await workers.subjects(tokens["access_token"])
    async with commands() as seen:
        for _ in range(5):
            await workers.subjects(tokens["access_token"])
    assert seen == ["EXISTS"] * 10


@pytest.mark.parametrize("workers", ["redis"], indirect=True)
async def test_a_token_that_nobody_minted_costs_no_command(workers: Workers, commands: Callable[[], Any]) -> None:
    async with commands() as seen:
        assert await workers.subjects("sba_" + "A" * 65) == [None] * 2
    assert seen == []


async def test_a_token_and_a_session_are_asked_about_in_one_write(redis_url: str, make_world: MakeWorld) -> None:
    relay = Relay(redis_url)
    async with relay.running() as url, open_state(url) as state:
        world = make_world(redis=state.redis)
        tokens, verifies, records = await world.tokens(), verifier(world, state), Records(state, ttl=300)
        principal = await verifies.verify(tokens["access_token"])
        assert principal is not None
        sid = await records.create(principal.owner, "2025-11-25", CLIENT)
        await records.load(sid, principal.owner)
        relay.said.clear()
        verdict, begun = verifies.verify(tokens["access_token"]), records.begin(sid)
        principal = await verdict
        assert principal is not None
        assert (await records.load(sid, principal.owner, begun)).sid == sid
    assert [(b"EXISTS" in said, b"HMGET" in said) for _, said in relay.said if b"{" in said] == [(True, True)]
