"""A worker's connections to Redis: as many as are allowed, however often Redis goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx2
import redis.asyncio

from switchboard.app import Application
from tests.sessions.conftest import serving
from tools.fleet.redis_server import RedisServer
from tools.messages import ACCEPT, INITIALIZE

LISTEN = 1
ALLOWED = 6


async def served(http: httpx2.AsyncClient, url: str) -> None:
    """Wait until Redis is used again."""
    async with asyncio.timeout(60):
        while (await http.post(url, json=INITIALIZE, headers=ACCEPT)).status_code != 200:
            await asyncio.sleep(0.05)


async def connections(url: str, app: Application) -> int:
    """How many Redis counts, without the one that asks; once the worker hears wake-ups again."""
    async with asyncio.timeout(60), redis.asyncio.from_url(url, protocol=2) as outside:
        while not app.rooms.state.pubsub.connected:
            await asyncio.sleep(0.02)
        return len(await outside.client_list()) - 1


async def test_no_outage_of_redis_leaves_a_connection_behind(start_private_redis: Callable[..., RedisServer]) -> None:
    server = start_private_redis()
    port = int(server.url.rsplit(":", 1)[1].removesuffix("/0"))

    async def killed() -> None:
        async with redis.asyncio.from_url(server.url) as outside:
            await outside.client_kill_filter(skipme=True, _type="normal")
            await outside.client_kill_filter(skipme=True, _type="pubsub")

    async def restarted() -> None:
        nonlocal server
        assert server.child is not None
        server.child.kill()
        server = start_private_redis(port=port)

    async def frozen() -> None:
        assert server.child is not None
        server.child.freeze()
        await asyncio.sleep(0.5)  # the outage itself
        server.child.thaw()

    outages: tuple[Callable[[], Awaitable[None]], ...] = (killed, restarted, frozen) * 3
    async with (
        serving(server.url, redis_max_connections=ALLOWED) as worker,
        httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=None)) as http,
    ):
        for outage in outages:
            await served(http, worker.url)
            burst = [
                asyncio.create_task(http.post(worker.url, json=INITIALIZE, headers=ACCEPT)) for _ in range(5 * ALLOWED)
            ]
            await asyncio.sleep(0)
            await outage()
            with suppress(httpx2.HTTPError):
                await asyncio.gather(*burst)
            await served(http, worker.url)
            assert await connections(server.url, worker.app) <= ALLOWED + LISTEN
        pool = worker.app.rooms.state.redis.connection_pool
        async with asyncio.timeout(60):
            while pool._in_use_connections:  # the worker's own tasks use one now and then
                await asyncio.sleep(0.01)
