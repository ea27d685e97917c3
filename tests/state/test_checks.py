"""Warnings about a Redis that may lose what it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from switchboard.state import StateChecks, open_state
from switchboard.state.checks import REMEMBERED_S, Master, risks
from tools.fleet.redis_cluster import MASTERS, RedisCluster
from tools.fleet.redis_server import RedisServer

SOUND = {"maxmemory_policy": "noeviction", "aof_enabled": 1, "maxmemory": 1000, "used_memory": 500}


@asynccontextmanager
async def looking(url: str | None, clock: Callable[[], float] = lambda: 0.0) -> AsyncIterator[StateChecks]:
    async with open_state(url) as state:
        yield StateChecks(state, clock)


@pytest.fixture
def server(start_private_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_private_redis()


def configure(url: str, **values: Any) -> None:
    with redis.Redis.from_url(url) as client:
        for name, value in values.items():
            client.config_set(name.replace("_", "-"), value)


def test_a_sound_server_is_not_warned_of() -> None:
    assert risks([Master(SOUND, "")]) == {}


@pytest.mark.parametrize(
    ("change", "snapshots", "kind", "said"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "", "eviction", "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, "", "eviction", "noeviction"),
        ({"aof_enabled": 0}, "", "persistence", "appendonly"),
        ({"aof_enabled": 0}, None, "persistence", "cannot be known"),
        ({"used_memory": 900}, "", "memory", "90%"),
    ],
)
def test_each_risk_says_what_it_is_and_what_to_set(change: Any, snapshots: Any, kind: str, said: str) -> None:
    found = risks([Master({**SOUND, **change}, snapshots)])
    assert list(found) == [kind]
    assert said in found[kind]


def test_snapshots_are_persistence_enough_and_no_cap_is_never_near() -> None:
    assert risks([Master({**SOUND, "aof_enabled": 0, "maxmemory": 0}, "300 10")]) == {}


def test_of_several_masters_it_is_said_how_many_are_concerned() -> None:
    found = risks([Master(SOUND, ""), Master({**SOUND, "maxmemory_policy": "allkeys-lfu"}, ""), Master(None)])
    assert "(1 of 3 masters)" in found["eviction"]
    assert "INFO" in found["unknown"]


async def test_memory_is_not_warned_of() -> None:
    async with looking(None) as checks:
        assert await checks.warnings() == ()


async def test_a_real_server_is_warned_of_until_it_is_set_right(server: RedisServer) -> None:
    now = 0.0
    configure(server.url, maxmemory_policy="allkeys-lru", maxmemory="1100kb")
    async with looking(server.url, lambda: now) as checks:
        with capture_logs() as logged:
            said = " ".join(await checks.warnings())
            assert all(word in said for word in ("allkeys-lru", "appendonly", "maxmemory, or lower"))
            assert await checks.warnings()
        assert sorted(event["kind"] for event in logged) == ["eviction", "memory", "persistence"]
        configure(server.url, maxmemory_policy="noeviction", maxmemory="0", appendonly="yes")
        assert await checks.warnings(), "what was found is remembered for a while"
        now = REMEMBERED_S
        assert await checks.warnings() == ()


@pytest.mark.parametrize(("rules", "said"), [("-config", "refuses CONFIG"), ("-@dangerous", "refuses INFO")])
async def test_a_server_that_refuses_to_tell_is_said_to_be_unknown(server: RedisServer, rules: str, said: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "switchboard", "on", ">secret", "~*", "&*", "+@all", rules)
    async with looking(server.url.replace("redis://", "redis://switchboard:secret@")) as checks:
        (warning,) = await checks.warnings()
    assert said in warning


async def test_every_master_of_a_cluster_is_asked(redis_cluster: RedisCluster) -> None:
    configure(f"redis://127.0.0.1:{redis_cluster.ports[1]}/0", maxmemory_policy="allkeys-lru")
    try:
        async with looking(redis_cluster.url) as checks:
            said = " ".join(await checks.warnings())
    finally:
        configure(f"redis://127.0.0.1:{redis_cluster.ports[1]}/0", maxmemory_policy="noeviction")
    assert f"noeviction (1 of {MASTERS} masters)" in said
    assert f"appendonly to yes ({MASTERS} of {MASTERS} masters)" in said


async def test_what_was_found_is_kept_while_redis_is_away(server: RedisServer) -> None:
    now = 0.0
    async with looking(server.url, lambda: now) as checks:
        before = await checks.warnings()
        assert before
        assert server.child is not None
        server.child.kill()
        now = REMEMBERED_S
        assert await checks.warnings() == before
