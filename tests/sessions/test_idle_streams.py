"""What open streams ask of Redis while nothing happens."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.sessions.conftest import Start, Workers
from tools.fleet.workers import HASTE

STREAMS = 10
SWEEPS = 3
WITHIN_S = 30


async def test_an_idle_stream_renews_its_session_seldom_however_often_it_is_looked_after(start: Start) -> None:
    workers = await start(1, session_ttl=300, timing=HASTE)
    async with AsyncExitStack() as stack, asyncio.timeout(WITHIN_S):
        streams = [await stack.enter_async_context((await workers.open()).listen(workers.a)) for _ in range(STREAMS)]
        for stream in streams:
            await stream.next()
        before = await calls(workers, "pexpire")
        looks = await calls(workers, "xrange")
        while await calls(workers, "xrange") < looks + STREAMS * SWEEPS:
            await asyncio.sleep(0.1)
        assert await calls(workers, "pexpire") - before < STREAMS * 3 * 2


async def calls(workers: Workers, command: str) -> int:
    """How often Redis has run the command so far."""
    stats = await workers.redis.info("commandstats")
    count: int = stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return count
