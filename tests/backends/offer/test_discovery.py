"""Finding out what a backend offers: one worker does it, all know it, and another takes over."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp_types import TextContent

from switchboard.backends import Backend
from switchboard.state import State, open_state
from switchboard.timing import Timing
from tools.fleet.workers import HASTE, offered

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


def starts(tally: Path) -> int:
    return len(tally.read_text().split())


async def leader(state: State) -> str | None:
    """The worker that has the lead for the only backend there is."""
    async for key in state.redis.scan_iter(match="mcp:offer:*:lead"):
        holder = await state.redis.get(key)
        return str(holder).partition(":")[0] if holder else None
    return None


async def until_led_by(state: State, *workers: str, seconds: float = 60) -> None:
    """Wait until each of these workers has had the lead."""
    missing = set(workers)
    async with asyncio.timeout(seconds):
        while missing:
            missing.discard(str(await leader(state)))
            await asyncio.sleep(0.02)


async def test_one_worker_asks_a_backend_and_all_offer_what_it_said(
    raw: Any, open_gateway: Any, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    backend = raw("found", "tally", str(tally))
    async with open_state(redis_url, timing=HASTE) as state, AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(open_gateway(backend, state=state, worker=f"w{number}"))
            for number in range(4)
        ]
        for worker in workers:
            await worker.discovered()
            assert worker.providers["found"].last_offer().tool("echo") is not None
    assert starts(tally) == 1


async def test_a_cold_worker_offers_at_once_what_another_one_found(
    raw: Any, open_gateway: Any, redis_url: str, tmp_path: Path
) -> None:
    backend = raw("found", "once", str(tmp_path / "started"))  # whoever starts it a second time finds that it cannot
    async with open_state(redis_url, timing=HASTE) as state:
        async with open_gateway(backend, state=state) as first:
            await first.discovered()
            offer = first.providers["found"].last_offer()
        async with open_gateway(backend, state=state, worker="w2") as second:
            assert "found__echo" in second.catalog.current().tools.entries
            provider = second.providers["found"]
            await second.until(lambda: provider.health.condition == "failing")
            assert provider.last_offer().tools == offer.tools


async def test_when_the_leader_leaves_another_worker_asks(
    raw: Any, open_gateway: Any, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    backend = raw("found", "tally", str(tally))
    async with open_state(redis_url) as state, AsyncExitStack() as stack:
        first = AsyncExitStack()
        await (await first.enter_async_context(open_gateway(backend, state=state, worker="w1"))).discovered()
        second = await stack.enter_async_context(open_gateway(backend, state=state, worker="w2"))
        assert (await leader(state), starts(tally)) == ("w1", 1)
        await first.aclose()
        await until_led_by(state, "w2", seconds=0.8 * Timing().lease_s)  # it is told: no lease has to end
        await second.until(lambda: starts(tally) == 2)


async def test_when_the_leader_died_another_worker_asks_once_its_lease_has_ended(
    raw: Any, open_gateway: Any, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    backend = raw("found", "tally", str(tally))
    async with open_state(redis_url, timing=HASTE) as state:
        async with open_gateway(backend, state=state) as opened:
            await opened.discovered()
            [key] = [one async for one in state.redis.scan_iter(match="mcp:offer:*:lead")]
        await state.redis.set(key, "dead:1", px=1500)
        async with open_gateway(backend, state=state, worker="w2") as second:
            assert "found__echo" in second.catalog.current().tools.entries
            assert (await leader(state), starts(tally)) == ("dead", 1)
            await until_led_by(state, "w2")
            await second.until(lambda: starts(tally) == 2)


async def test_a_leader_that_cannot_reach_the_backend_lets_another_one_try(
    raw: Any, open_gateway: Any, redis_url: str
) -> None:
    backend = raw("broken", "exit")
    async with open_state(redis_url, timing=HASTE) as state, AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(open_gateway(backend, state=state, worker=worker))
            for worker in ("w1", "w2")
        ]
        await until_led_by(state, "w1", "w2")
        for worker in workers:
            provider = worker.providers["broken"]
            await worker.until(lambda provider=provider: "no such database" in provider.health.reason)


async def test_a_leader_that_lost_its_lease_writes_nothing_more(raw: Any, open_gateway: Any, redis_url: str) -> None:
    async with open_state(redis_url, timing=HASTE) as state, open_gateway(raw("found"), state=state) as opened:
        await opened.discovered()
        [lead] = [one async for one in state.redis.scan_iter(match="mcp:offer:*:lead")]
        copy = lead.removesuffix(":lead")
        await state.redis.set(lead, "other:1")
        await state.redis.set(copy, "what the other one wrote")
        discovery = opened.providers["found"]._discovery
        await discovery._cache.write(discovery.offer, discovery.health)
        assert await state.redis.get(copy) == "what the other one wrote"


async def test_a_leader_that_may_have_missed_a_word_asks_again(
    raw: Any, open_gateway: Any, redis_url: str, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    backend = raw("found", "tally", str(tally))
    async with open_state(redis_url, timing=HASTE) as state, open_gateway(backend, state=state) as opened:
        await opened.discovered()
        [child] = opened.providers["found"]._pool.open
        child.stop()  # so that asking it starts another
        await state.redis.client_kill_filter(_type="pubsub")
        await opened.until(lambda: starts(tally) == 2)


@pytest.mark.parametrize("on", [0, 1])
async def test_a_change_that_any_worker_hears_of_is_offered_by_all(
    on: int, handy_http: Any, fleet: Any, connect: Any, redis_url: str
) -> None:
    urls = await fleet([Backend("handy", handy_http("handshake"), scope="shared")], count=2, redis_url=redis_url)
    async with connect(urls[on], "handshake") as one, connect(urls[1 - on], "modern") as other:
        await offered(one, "handy__grow")
        await one.call_tool("handy__grow")
        await offered(other, "handy__grown")
        content = (await other.call_tool("handy__grown")).content[0]
        assert isinstance(content, TextContent)
        assert content.text == "new"
