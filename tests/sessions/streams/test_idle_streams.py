"""What open streams take, of Redis and of a worker, while nothing happens."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import AsyncExitStack
from types import AsyncGeneratorType, CoroutineType

from tests.sessions.conftest import Start, Workers
from tests.sessions.test_modern import heard, listening
from tools.fleet.workers import HASTE

STREAMS = 10
SWEEPS = 3
WITHIN_S = 30
MOST_SUSPENDED = 14
OURS = "/src/switchboard/"


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


async def test_an_idle_stream_holds_two_tasks_and_nothing_of_the_layers_that_let_it_in(start: Start) -> None:
    """Memory in a count that does not vary: 20 KiB a stream with fourteen suspended calls, 36 with thirty-four."""
    workers = await start(1)
    async with AsyncExitStack() as stack, asyncio.timeout(WITHIN_S):
        asked = {"toolsListChanged": True}
        sessions = [await workers.open() for _ in range(STREAMS)]
        for kind in ("standalone", "listen"):
            before = suspended()
            for number, session in enumerate(sessions):
                if kind == "listen":
                    stream = await stack.enter_async_context(listening(workers, workers.a, asked, id=number))
                    await heard(stream)
                else:
                    await (await stack.enter_async_context(session.listen(workers.a))).next()
            names = suspended() - before
            held = {name: count for name, count in names.items() if count >= STREAMS}
            assert not [name for name in held if "/middleware/" in name or "/mcp.py" in name], held
            assert sum(held.values()) <= STREAMS * MOST_SUSPENDED, held


def suspended() -> Counter[str]:
    """Coroutines and generators of Switchboard that wait for something now, by where they are written."""
    waiting = [each for each in gc.get_objects() if isinstance(each, CoroutineType | AsyncGeneratorType)]
    codes = [each.cr_code if isinstance(each, CoroutineType) else each.ag_code for each in waiting]
    return Counter(f"{code.co_filename} {code.co_qualname}" for code in codes if OURS in code.co_filename)


async def calls(workers: Workers, command: str) -> int:
    """How often Redis has run the command so far."""
    stats = await workers.redis.info("commandstats")
    count: int = stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return count
