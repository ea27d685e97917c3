"""What each kind of request costs Redis: so many commands, in so many writes."""

from __future__ import annotations

import pytest

from tests.http.both_ways import CALL, IN_SESSION, META, MODERN, OLD_CALL, Asked, Pairs, message, opened
from tests.state.relay import Relay, commands

LISTED: Pairs = ((b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/list"))
WHOAMI = message("tools/call", {"name": "whoami", "arguments": {}, "_meta": META})
GUESS = b"Bearer " + b"x" * 60

COSTS: dict[str, tuple[Asked, int, list[str]]] = {
    "a call": (Asked(CALL, MODERN), 200, ["EXISTS"]),
    "a call of a tool with a context": (Asked(WHOAMI, (*MODERN[:2], (b"mcp-name", b"whoami"))), 200, ["EXISTS"]),
    "a list": (Asked(message("tools/list", {"_meta": META}), LISTED), 200, ["EXISTS"]),
    "a call in a session": (Asked(OLD_CALL, IN_SESSION), 200, ["EXISTS", "HMGET"]),
    "a list in a session": (Asked(message("tools/list"), IN_SESSION), 200, ["EXISTS", "HMGET"]),
    "no token": (Asked(token=None), 401, []),
    "a token that nobody minted": (Asked(token=GUESS), 401, []),
    "no such path": (Asked(path="/nope"), 404, []),
}


@pytest.mark.parametrize("kind", COSTS)
async def test_a_request_that_is_not_the_first_asks_redis_so_much_in_one_write(redis_url: str, kind: str) -> None:
    asked, status, wanted = COSTS[kind]
    relay = Relay(redis_url)
    async with relay.running() as url, opened(redis_url=url, rate_limit=100_000) as world:
        await world.open_session()
        await world.send(world.front, Asked())
        looks = next(number for number, said in reversed(relay.said) if b"EXISTS" in said)
        for _ in range(2):
            assert (await world.send(world.front, asked)).status == status
        relay.said.clear()
        assert (await world.send(world.front, asked)).status == status
        on_look_ups = [commands(said) for number, said in relay.said if number == looks]
        assert on_look_ups == ([wanted] if wanted else [])
        names = [name for name in (b"alice", world.names[b"SESSION"], world.names[b"TOKEN"]) if name]
        elsewhere = [said for number, said in relay.said if number != looks]
        assert [said for said in elsewhere if any(name in said for name in names)] == []


async def test_a_token_that_is_not_known_any_more_costs_one_look_for_it_and_one_write(redis_url: str) -> None:
    relay = Relay(redis_url)
    async with relay.running() as url, opened(redis_url=url, rate_limit=100_000) as world:
        await world.send(world.front, Asked())
        looks = next(number for number, said in reversed(relay.said) if b"EXISTS" in said)
        await world.app.rooms.state.redis.flushdb()
        await world.send(world.front, Asked())
        relay.said.clear()
        assert (await world.send(world.front, Asked())).status == 401
        assert [commands(said) for number, said in relay.said if number == looks] == [["EXISTS", "GET"]]
