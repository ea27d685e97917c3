"""Writes that must outlive their master wait for a real replica."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis
from structlog.testing import capture_logs

from switchboard.state import open_state
from tools.fleet.children import PAUSE, Child
from tools.fleet.redis_cluster import RedisCluster
from tools.fleet.redis_server import RedisServer


@dataclass
class Pair:
    """A master and its one replica."""

    master: RedisServer
    replica: RedisServer

    @property
    def copy(self) -> Child:
        assert self.replica.child is not None
        return self.replica.child

    def copied(self, key: str) -> bool:
        with redis.Redis.from_url(self.replica.url) as client:
            return bool(client.exists(key))


@pytest.fixture
def pair(start_private_redis: Callable[..., RedisServer]) -> Iterator[Pair]:
    master = start_private_redis(options=["--repl-diskless-sync-delay", "0"])
    port = master.url.rsplit(":", 1)[1].removesuffix("/0")
    made = Pair(master, start_private_redis(options=["--replicaof", "127.0.0.1", port]))
    with redis.Redis.from_url(made.replica.url) as client:
        deadline = time.monotonic() + 120
        while client.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline, "the replica did not follow"
            time.sleep(PAUSE)
    yield made
    made.copy.thaw()


async def test_a_write_that_must_last_is_on_the_replica_when_the_wait_ends(pair: Pair) -> None:
    async with open_state(pair.master.url, wait_replicas=1, wait_ms=4000) as state:
        pair.copy.freeze()
        await state.redis.set("session:{a}", "x")
        waiting = asyncio.create_task(state.replicas.hold("session:{a}"))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done, "the replica stands still: it cannot have confirmed"
        pair.copy.thaw()
        assert await asyncio.wait_for(waiting, 60)
        assert pair.copied("session:{a}")
        assert list(state.replicas.warnings()) == []


async def test_replicas_that_do_not_answer_are_warned_of_once_and_the_write_stands(pair: Pair) -> None:
    async with open_state(pair.master.url, wait_replicas=1, wait_ms=50) as state:
        pair.copy.freeze()
        with capture_logs() as logged:
            for number in range(3):
                await state.redis.set(f"k{number}", "x")
                assert not await state.replicas.hold(f"k{number}")
        assert [event["event"] for event in logged] == ["redis.replicas_behind"]
        (warning,) = state.replicas.warnings()
        assert "REDIS_WAIT_REPLICAS is 1" in warning
        assert await state.redis.get("k2") == "x"
        pair.copy.thaw()
        async with asyncio.timeout(60):
            while not await state.replicas.hold("k0"):
                pass
        assert list(state.replicas.warnings()) == []


async def test_nothing_is_waited_for_unless_it_is_asked_for(pair: Pair) -> None:
    pair.copy.freeze()
    async with open_state(pair.master.url) as state, open_state(None, wait_replicas=1) as memory:
        for each in (state, memory):
            await each.redis.set("k", "x")
            assert await each.replicas.hold("k")
            assert await each.redis.dbsize() == 1, "not even the barrier is written"


async def test_each_master_of_a_cluster_waits_for_its_own_replica(redis_cluster: RedisCluster) -> None:
    async with open_state(redis_cluster.url, wait_replicas=1, wait_ms=2000) as state:
        for number in range(30):
            key = f"session:{{{number}}}"
            await state.redis.set(key, "x")
            assert await state.replicas.hold(key)
    async with open_state(redis_cluster.url, wait_replicas=2, wait_ms=20) as state:
        await state.redis.set("k", "x")
        assert not await state.replicas.hold("k"), "each master has one replica only"
