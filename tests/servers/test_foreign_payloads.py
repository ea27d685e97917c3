"""Whoever may write to the fleet's Redis may publish anything: no worker ends of it, and its clients are served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import Client

from switchboard.config.overlay import Overlay
from switchboard.errors import ConfigurationError
from switchboard.fleet.peers.frames import PROTOCOL
from switchboard.state import open_state
from switchboard.state.pubsub import parsed
from switchboard.worker_control import ask

DEEP = "[" * 100_000
FOREIGN = (
    "nonsense",
    "null",
    "[]",
    "{}",
    DEEP,
    json.dumps({"call": "c", "from": "w", "kind": "call", "n": 1, "seen": 0, "body": {"method": "servers"}}),
    json.dumps({"call": "c", "from": "w", "kind": "cancel", "n": 0, "seen": 0, "body": {}, "again": True}),
    json.dumps({"call": "c", "from": "../", "kind": "seen", "n": 0, "seen": 0, "body": {}, "again": True}),
    json.dumps({"kind": ["tools"]}),
    json.dumps({"kind": "resource", "uri": 5}),
    json.dumps({"kind": "resource", "uri": ["a"]}),
    json.dumps({"kind": "resource", "uri": "\ud800"}),
    json.dumps({"kind": "retry", "reply": "\ud800", "ticket": "abc", "principal": 1, "answers": [], "terms": {}}),
    json.dumps({"kind": "retry", "reply": "a", "ticket": [[], {}, 1], "principal": 1, "answers": {}, "terms": {}}),
    json.dumps({"kind": "call", "reply": "\ud800", "call": {}, "seen": 0, "answers": {}}),
)


async def test_nothing_that_is_published_on_the_fleets_channels_ends_a_worker(
    setup: Any, until: Any, redis_url: str
) -> None:
    setup.write({"a": setup.server("a")})
    url = await setup.start(redis_url=redis_url)
    state = setup.apps[0].rooms.state
    async with Client(url) as client:

        async def there() -> bool:
            return bool((await client.list_tools(cache_mode="refresh")).tools)

        await until(there)
        channels = set(await state.redis.pubsub_channels())
        assert state.keys.peer(PROTOCOL, setup.apps[0].rooms.worker) in channels
        for channel in channels:
            for payload in FOREIGN:
                await state.pubsub.publish(channel, payload)
        answers = await ask(state)
        assert [answer["worker"] for answer in answers] == [setup.apps[0].rooms.worker]
        assert (await client.call_tool("a__who")).content


async def test_what_nobody_of_us_wrote_as_an_overlay_is_said_to_be_that(redis_url: str) -> None:
    async with open_state(redis_url) as state:
        for stored in ({"removed": "x"}, {"removed": "[]", "stated": "{}", "revision": "1"}):
            await state.redis.delete(state.keys.overlay())
            await state.redis.hset(state.keys.overlay(), mapping=dict(stored))  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="mcp:config"):
                await Overlay(state).read()


@pytest.mark.parametrize("payload", ["", "nonsense", "null", "[]", "5", DEEP, json.dumps({"a": "\ud800"})])
def test_a_payload_that_is_no_object_to_be_sent_on_is_none(payload: str) -> None:
    assert parsed(payload) is None
