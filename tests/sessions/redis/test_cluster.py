"""Two workers on a real Redis Cluster, and what they do when a master dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx2
import pytest

from switchboard.state import open_state
from tests.sessions.conftest import Session, Worker, Workers, serving
from tools.fleet.redis_cluster import MASTERS, RedisCluster, running_cluster
from tools.messages import call

LONG = "longRunningOperation"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


async def test_sessions_streams_questions_and_a_failover_on_a_cluster(cluster: RedisCluster) -> None:
    async with (
        serving(cluster.url) as a,
        serving(cluster.url) as b,
        open_state(cluster.url) as state,
        httpx2.AsyncClient(timeout=60) as http,
    ):
        workers = Workers([a, b], http, state)
        sessions = [await workers.open() for _ in range(12)]  # some on every master
        for session in sessions:
            assert (await session.call(b, "echo", {"message": "x"}))["content"][0]["text"] == "Echo: x"
        async with sessions[0].stream(a, call("listRoots")) as events:
            question = (await events.message()).message
            roots = {"roots": [{"uri": "file:///x"}]}
            await sessions[0].post(b, {"jsonrpc": "2.0", "id": question["id"], "result": roots})
            assert "file:///x" in str((await events.message()).message["result"])
        async with sessions[1].stream(a, call(LONG, {"duration": 0.3, "steps": 3}, progressToken=1)) as events:
            assert len(await events.rest()) == 4
        cluster.nodes[0].kill()
        served = await asyncio.gather(*(eventually_served(session, b) for session in sessions))
    # Redis replicates asynchronously, but these records were written long before: none may be lost.
    assert all(served)
    assert len(cluster.ports) == 2 * MASTERS


async def eventually_served(session: Session, worker: Worker) -> bool:
    """503 while the cluster has no master for the slot; then the session must still be there."""
    async with asyncio.timeout(60):
        while True:
            answer = await session.post(worker, call("echo", {"message": "x"}))
            if answer.status_code != 503:
                return bool(answer.status_code == 200)
            await asyncio.sleep(0.2)
