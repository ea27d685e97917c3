"""Backends of several workers on a real Redis Cluster: what the workers tell each other goes through its shards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from mcp_types import TextContent

from switchboard.backends import Backend
from tests.backends.conftest import Connect, Fleet, Person
from tools.fleet.redis_cluster import running_cluster
from tools.fleet.workers import offered

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


async def test_what_one_worker_found_out_or_hears_of_is_offered_by_all(
    handy_http: Any, fleet: Fleet, connect: Connect, cluster_url: str
) -> None:
    urls = await fleet([Backend("http", handy_http("handshake"), scope="shared")], count=3, redis_url=cluster_url)
    async with (
        connect(urls[0], "handshake") as one,
        connect(urls[1], "modern") as two,
        connect(urls[2], "modern") as three,
    ):
        await offered(one, "http__grow")
        await one.call_tool("http__grow")
        async with asyncio.timeout(10):  # less than they would take to look by themselves
            await offered(two, "http__grown")
            await offered(three, "http__grown")


async def test_a_child_speaks_and_asks_through_whichever_worker_its_client_is_at(
    handy_stdio: Any, fleet: Fleet, connect: Connect, person: Person, cluster_url: str
) -> None:
    urls = await fleet([Backend("child", handy_stdio)], count=2, redis_url=cluster_url)
    async with connect(urls, "handshake", person) as client:
        for _ in urls:
            await offered(client, "child__ask")
        for tag in ("a", "b", "c"):
            answer = (await client.call_tool("child__ask", {"tag": tag})).content[0]
            assert isinstance(answer, TextContent)
            assert answer.text == f"accept bob {tag} {tag}"
            person.heard.clear()
            await client.call_tool("child__steps", {}, progress_callback=person.progress)
            assert [said for said in person.heard if isinstance(said, tuple)][-1] == (3.0, 3.0, "step 3")
