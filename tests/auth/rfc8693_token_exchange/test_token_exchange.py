"""RFC 8693: a gateway swaps a user's token for one that another resource takes."""

from __future__ import annotations

from typing import Any

import pytest

from auth_server import StaticClient
from tests.auth.conftest import MakeWorld, World

TYPE = "urn:ietf:params:oauth:token-type:access_token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
MCP, OTHER = "http://localhost:3232/mcp", "http://localhost:4000/mcp"
GATEWAY = StaticClient(id="gateway", secret="gateway secret", grant_types=(GRANT,))
NEXT = StaticClient(id="next", secret="next secret", grant_types=(GRANT,))


@pytest.fixture
def exchange_world(make_world: MakeWorld) -> Any:
    return make_world(clients=(GATEWAY, NEXT), resources=(MCP, OTHER))


async def exchange(world: World, token: str, who: str = "gateway", **changes: Any) -> Any:
    """An exchange by a gateway."""
    sent = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE, "resource": OTHER} | changes
    kept = {name: value for name, value in sent.items() if value is not None}
    return await world.token(kept, auth=(who, f"{who} secret"))


async def test_the_new_token_is_the_same_persons_for_another_resource(exchange_world: Any) -> None:
    """AUTH.md row 25."""
    tokens = await exchange_world.tokens(scope="mcp admin")

    answer = (await exchange(exchange_world, tokens["access_token"], scope="mcp")).json()

    claims = await exchange_world.server.introspect_token(answer["access_token"])
    assert (answer["issued_token_type"], answer["scope"]) == (TYPE, "mcp")
    assert (claims["sub"], claims["aud"], claims["client_id"]) == ("alice", OTHER, "gateway")
    assert claims["act"] == {"sub": "gateway"}
    assert "refresh_token" not in answer


async def test_a_chain_of_gateways_is_told(exchange_world: Any) -> None:
    """RFC 8693 §4.1."""
    tokens = await exchange_world.tokens()
    first = (await exchange(exchange_world, tokens["access_token"])).json()["access_token"]
    second = (await exchange(exchange_world, first, who="next", resource=MCP)).json()["access_token"]

    claims = await exchange_world.server.introspect_token(second)
    assert claims["act"] == {"sub": "next", "act": {"sub": "gateway"}}


async def test_the_new_token_lives_no_longer_and_dies_with_the_first(exchange_world: Any) -> None:
    """AUTH.md row 25."""
    tokens = await exchange_world.tokens()
    exchange_world.clock.pass_(3000)

    answer = (await exchange(exchange_world, tokens["access_token"])).json()
    await exchange_world.server.revoke("user", "alice")

    assert answer["expires_in"] == 600
    assert await exchange_world.server.introspect_token(answer["access_token"]) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "admin"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"resource": None}, "invalid_target"),
        ({"subject_token": "nonsense"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_an_exchange_gives_no_more_than_there_was(
    exchange_world: Any, changes: dict[str, Any], error: str
) -> None:
    """AUTH.md row 25."""
    tokens = await exchange_world.tokens()

    response = await exchange(exchange_world, tokens["access_token"], **changes)

    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_a_part_of_a_scope_is_less_than_it(exchange_world: Any) -> None:
    """RFC 8693 §2.2.1: a token for "mcp" gives one for "mcp:tools", and that none for "mcp"."""
    tokens = await exchange_world.tokens(scope="mcp")

    narrow = (await exchange(exchange_world, tokens["access_token"], scope="mcp:tools")).json()
    whole = (await exchange(exchange_world, tokens["access_token"])).json()
    wider = (await exchange(exchange_world, narrow["access_token"], scope="mcp")).json()

    assert (narrow["scope"], whole["scope"], wider["error"]) == ("mcp:tools", "mcp", "invalid_scope")


async def test_refresh_tokens_are_not_exchanged(exchange_world: Any) -> None:
    tokens = await exchange_world.tokens()

    assert (await exchange(exchange_world, tokens["refresh_token"])).json()["error"] == "invalid_request"


async def test_clients_that_registered_themselves_may_not_exchange(exchange_world: Any) -> None:
    """AUTH.md row 25."""
    tokens = await exchange_world.tokens()
    sent = {"grant_type": GRANT, "subject_token": tokens["access_token"], "subject_token_type": TYPE}

    response = await exchange_world.token(sent | {"resource": OTHER, "client_id": tokens["client"]["client_id"]})

    assert response.json()["error"] == "unauthorized_client"


@pytest.mark.parametrize("kind", ["opaque", "jwt"])
async def test_what_a_gateway_got_by_exchange_ends_when_the_gateway_is_revoked(
    make_world: MakeWorld, kind: str
) -> None:
    """SECURITY.md, "A client's secret has leaked": its exchanged tokens end, the people's own tokens go on."""
    world = make_world(clients=(GATEWAY, NEXT), resources=(MCP, OTHER), access_tokens=kind)
    tokens = await world.tokens()
    first = (await exchange(world, tokens["access_token"])).json()["access_token"]
    onward = (await exchange(world, first, who="next", resource=MCP)).json()["access_token"]
    others = (await exchange(world, tokens["access_token"], who="next")).json()["access_token"]

    assert await world.server.revoke("client", "gateway") == 2

    found = [await world.server.introspect_token(token) for token in (first, onward, others, tokens["access_token"])]
    assert [claims is not None for claims in found] == [False, False, True, True]
    assert (await exchange(world, first, who="next", resource=MCP)).json()["error"] == "invalid_request"
    assert (await exchange(world, tokens["access_token"])).status_code == 200, "with a new secret it goes on"
