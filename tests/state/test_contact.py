"""Who may be taken for dead, and when; what time it is for the fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import redis
from structlog.testing import capture_logs

from switchboard.fleet import Heartbeat, Lease
from switchboard.state import check_fingerprint, open_state
from switchboard.state.clock import DIFFERS_S, FleetClock
from switchboard.state.contact import Contact
from switchboard.timing import Timing
from tools.fleet.redis_cluster import RedisCluster
from tools.fleet.redis_server import RedisServer
from tools.fleet.workers import HASTE

TIMING = Timing()


def test_a_contact_is_settled_once_redis_has_answered_for_as_long_as_a_worker_needs_to_renew() -> None:
    now = 100.0
    contact = Contact(lambda: now)
    assert not contact.settled
    contact.answered()
    now += TIMING.settled_s / 2
    contact.answered()
    assert not contact.settled
    now += TIMING.settled_s / 2
    assert contact.settled
    now += TIMING.late_s
    assert not contact.settled, "nothing was heard for longer than anybody asks"
    contact.answered()
    assert not contact.settled, "what lapsed meanwhile has not been renewed yet"
    now += TIMING.late_s
    assert contact.settled


def test_a_connection_that_ended_begins_a_new_contact() -> None:
    now = 100.0
    contact = Contact(lambda: now)
    contact.answered()
    now += TIMING.settled_s
    assert contact.settled
    contact.broken()
    assert not contact.settled
    contact.answered()
    now += TIMING.settled_s - 0.1
    assert not contact.settled
    now += 0.1
    assert contact.settled


def test_silence_counts_only_while_something_could_have_been_heard() -> None:
    now = 100.0
    contact = Contact(lambda: now)
    contact.answered()
    heard = now
    now += 5
    contact.answered()
    assert contact.silence(heard) == 5
    now += 60
    assert contact.silence(heard) == 0
    contact.answered()
    now += 2
    assert contact.silence(heard) == 2


async def test_nobody_is_dead_whose_heartbeat_lapsed_while_redis_stood_still(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child is not None
    timing = Timing(lease_s=3.0, renew_s=1.0)
    async with open_state(server.url, timing=timing) as state:
        heartbeat = Heartbeat(state, "w1", "1.0")
        async with asyncio.timeout(60):
            while not state.contact.settled:
                await asyncio.sleep(0.05)
        assert not await heartbeat.alive("w1")
        server.child.freeze()
        async with asyncio.timeout(60):
            while state.contact.settled:
                await asyncio.sleep(0.05)
        server.child.thaw()
        assert await heartbeat.alive("w1"), "w1 may not have had the time to say that it lives"
        async with asyncio.timeout(60):
            while await heartbeat.alive("w1"):
                await asyncio.sleep(0.05)


async def test_a_heartbeat_and_a_lease_are_renewed_while_redis_is_full(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    async with open_state(server.url) as state:
        heartbeat, lease = Heartbeat(state, "w1", "1.0"), Lease(state, "k", "w1")
        async with heartbeat.running():
            await lease.claim()
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxmemory", "1")
                for key in (state.keys.worker("w1"), "k"):
                    client.pexpire(key, 3_000)
                assert await lease.claim()
                await heartbeat._beat()
                assert 3_000 < client.pttl(state.keys.worker("w1")) <= TIMING.lease_ms
                assert client.pttl("k") > 3_000
                client.config_set("maxmemory", "0")


async def test_an_emptied_redis_is_told_the_fleets_fingerprint_again_and_a_stranger_waits_for_that(
    state_url: str | None,
) -> None:
    async with open_state(state_url, timing=HASTE) as state:
        heartbeat = Heartbeat(state, "w1", "1.0", ["key-a"])
        await check_fingerprint(state, ["key-a"])
        async with heartbeat.running(), state.pubsub.subscribed(state.keys.bus(), lambda _payload: None):
            await state.redis.delete(state.keys.fingerprint(), state.keys.worker("w1"))

            async def joined() -> str:
                try:
                    await check_fingerprint(state, ["key-b"])
                except Exception as error:
                    return str(error)
                return "joined"

            joining = asyncio.create_task(joined())
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                assert "SECRET_KEY" in await joining
            assert await heartbeat.alive("w1")
        await check_fingerprint(state, ["key-a"])


async def test_an_empty_redis_takes_its_first_worker_at_once(redis_cluster: RedisCluster, redis_url: str) -> None:
    redis_cluster.flush()
    for url in (redis_cluster.url, redis_url, None):
        async with open_state(url) as state, asyncio.timeout(0.9 * Timing().settled_s):
            await check_fingerprint(state, ["key-a"])


async def test_workers_go_by_the_time_of_redis(state_url: str | None) -> None:
    async with open_state(state_url) as opened:
        state = replace(opened, clock=FleetClock(own=lambda: time.time() + 300))  # a machine whose clock is off
        await state.greet()
        seconds, micros = await state.redis.eval("return redis.call('TIME')", 1, state.keys.fingerprint())
        assert abs(state.clock() - int(seconds) - int(micros) / 1e6) < 100


def test_a_clock_that_is_off_goes_by_redis_and_is_warned_of() -> None:
    mine, ticks = 1000.0 + 300, 7.0
    clock = FleetClock(lambda: ticks, lambda: mine)
    assert clock() == 1300, "until Redis was asked"
    with capture_logs() as logged:
        clock.read(7.0, 1000.0)
        assert clock() == 1000
        ticks += 5
        assert clock() == 1005
        (warning,) = clock.warnings()
        assert "300 s ahead" in warning or "295 s ahead" in warning
        clock.read(ticks - 2.0, 0.0)
        assert clock() == 1005, "an answer that took too long says too little"
        mine = 1005 + DIFFERS_S / 2
        clock.read(ticks, 1005.0)
        assert not list(clock.warnings())
    assert [event["event"] for event in logged] == ["clock.diverged", "clock.converged"]
