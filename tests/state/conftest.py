"""The state room's contract runs over `memory://`, over a real Redis, and over a real Redis Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tools.fleet.redis_cluster import RedisCluster, running_cluster

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters and three replicas."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["memory://", "redis", "cluster"])
def state_url(request: pytest.FixtureRequest) -> str | None:
    """What to give to `open_state`: `None` for `memory://`, or the URL of an empty Redis or Redis Cluster."""
    if request.param == "memory://":
        return None
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        cluster.flush()
        return cluster.url
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def eventually() -> Eventually:
    """Wait until something holds, or fail after five seconds."""

    async def wait(holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await holds():
                await asyncio.sleep(0.01)

    return wait
