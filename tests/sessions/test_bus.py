"""Change notices between workers when one of them cannot publish for a while."""

from __future__ import annotations

import asyncio

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
                async with asyncio.timeout(20):
                    await last.wait()
        operator.execute_command("ACL DELUSER", "mute")
    assert heard == [CHANGED, ToolsListChanged()]
