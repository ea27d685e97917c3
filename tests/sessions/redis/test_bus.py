"""Change notices between workers when one of them cannot publish for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent, ToolsListChanged

from switchboard.sessions.bus import RedisBus
from switchboard.state import open_state

CHANGED = ResourceUpdated("test://one")


async def test_what_a_worker_could_not_publish_reaches_the_others_later_and_once(redis_url: str) -> None:
    here: list[ServerEvent] = []
    heard: list[ServerEvent] = []
    last = asyncio.Event()

    def listener(event: ServerEvent) -> None:
        heard.append(event)
        if isinstance(event, ToolsListChanged):
            last.set()

    with redis.Redis.from_url(redis_url) as operator:
        operator.execute_command("ACL SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-publish")
        mute = redis_url.replace("redis://", "redis://mute:secret@")
        async with open_state(mute) as one, open_state(redis_url) as other:
            muted, hearing = RedisBus(one), RedisBus(other)
            muted.subscribe(here.append)
            hearing.subscribe(listener)
            async with muted.running(), hearing.running():
                for event in (CHANGED, CHANGED, ToolsListChanged()):
                    await muted.publish(event)
                assert (here, heard) == ([CHANGED, CHANGED, ToolsListChanged()], [])
                operator.execute_command("ACL SETUSER", "mute", "+publish")
                async with asyncio.timeout(60):
                    await last.wait()
        operator.execute_command("ACL DELUSER", "mute")
    assert heard == [CHANGED, ToolsListChanged()]


async def test_what_could_not_be_published_later_either_is_tried_again_until_it_can(redis_url: str) -> None:
    heard = asyncio.Event()
    with redis.Redis.from_url(redis_url) as operator:
        operator.execute_command("ACL SETUSER", "mute", "on", ">secret", "~*", "&*", "+@all", "-publish")
        mute = redis_url.replace("redis://", "redis://mute:secret@")
        async with open_state(mute) as one, open_state(redis_url) as other:
            muted, hearing = RedisBus(one), RedisBus(other)
            hearing.subscribe(lambda _: heard.set())
            async with muted.running(), hearing.running(), asyncio.timeout(60):
                before = refused(operator)
                await muted.publish(CHANGED)
                while refused(operator) < before + 3:
                    await asyncio.sleep(0.02)
                operator.execute_command("ACL SETUSER", "mute", "+publish")
                await heard.wait()
        operator.execute_command("ACL DELUSER", "mute")


def refused(operator: redis.Redis) -> int:
    """How often somebody was refused to publish."""
    stats: Any = operator.info("commandstats")
    count: int = stats.get("cmdstat_publish", {"rejected_calls": 0})["rejected_calls"]
    return count
