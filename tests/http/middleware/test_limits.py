from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
import redis.asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs

from switchboard.common.quota import Quota
from switchboard.http.middleware import rate_limit
from switchboard.http.middleware.bearer import Anonymous
from switchboard.http.middleware.rate_limit import Permits, RateLimit, by_address, by_principal

FEW = Quota("few", 3, window=60_000)
MANY = Quota("many", 1000, window=600_000)
"""Windows of hours: Redis counts by its own clock, and however long a test takes, no permit comes back meanwhile."""


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[redis.asyncio.Redis]:
    """Both kinds of shared state, empty."""
    if request.param == "memory":
        client: redis.asyncio.Redis = FakeAsyncRedis(decode_responses=True)
    else:
        client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url"), decode_responses=True)
    async with client:
        yield client


async def spend(permits: Permits, quota: Quota, times: int, key: str = "k") -> int:
    """How many of `times` were granted."""
    return sum([await permits.spend(quota, key) is None for _ in range(times)])


async def test_a_quota_is_granted_and_then_refused_with_the_time_to_wait(store: redis.asyncio.Redis) -> None:
    permits = Permits(store)
    assert await spend(permits, FEW, 3) == 3
    wait = await permits.spend(FEW, "k")
    assert wait is not None
    assert 15_000 < wait <= 20_000


async def test_buckets_are_apart_by_key_quota_and_prefix(store: redis.asyncio.Redis) -> None:
    permits = Permits(store)
    assert await spend(permits, FEW, 9) == 3
    assert await spend(permits, FEW, 9, "other") == 3
    assert await spend(permits, Quota("another", 2), 9) == 2
    assert await spend(Permits(store, prefix="apart:"), FEW, 9) == 3


async def test_workers_share_the_quota(store: redis.asyncio.Redis) -> None:
    one, other = Permits(store), Permits(store)
    assert await spend(one, FEW, 2) + await spend(other, FEW, 9) == 3
    assert await spend(one, MANY, 600) + await spend(other, MANY, 600) <= 1000


async def test_requests_at_once_draw_one_block_and_lose_none_of_the_quota(store: redis.asyncio.Redis) -> None:
    permits, granted = Permits(store), 0
    for _ in range(20):
        waits = await asyncio.gather(*(permits.spend(MANY, "k") for _ in range(50)))
        granted += waits.count(None)
    assert granted == 1000
    assert await permits.spend(MANY, "k") is not None


async def test_permits_spent_while_others_are_drawn_are_not_spent_twice(store: redis.asyncio.Redis) -> None:
    permits = Permits(store)
    assert await permits.spend(MANY, "k") is None  # nine of the block are left
    several = asyncio.create_task(permits.spend(MANY, "k", 15))
    await asyncio.sleep(0)
    meanwhile = sum(permits.spend_held(MANY, "k") for _ in range(9))
    assert await several is None
    assert meanwhile + 16 + await spend(permits, MANY, 1000) == 1000


async def test_a_quota_refills_steadily(store: redis.asyncio.Redis) -> None:
    clock = Clock()
    permits = Permits(store, clock=clock)
    assert await spend(permits, FEW, 9) == 3
    full_at = float(await store.get("rate:few:k") or 0)
    await store.set("rate:few:k", full_at - 25_000_000)  # as when 25,000 s had passed: one permit came back
    clock.now += 25_000
    assert await spend(permits, FEW, 9) == 1


async def test_a_refusal_is_remembered_without_asking_again(store: redis.asyncio.Redis) -> None:
    clock = Clock()
    permits = Permits(store, clock=clock)
    await spend(permits, FEW, 4)
    await store.flushdb()
    assert await permits.spend(FEW, "k") is not None
    clock.now += 20_001
    assert await permits.spend(FEW, "k") is None


async def test_permits_are_taken_in_blocks_and_given_up_when_they_grow_old(store: redis.asyncio.Redis) -> None:
    clock = Clock()
    permits = Permits(store, clock=clock)
    await permits.spend(MANY, "k")
    taken = float(await store.get("rate:many:k") or 0)
    await spend(permits, MANY, 8)
    assert float(await store.get("rate:many:k") or 0) == taken
    clock.now += 60_001
    await permits.spend(MANY, "k")
    assert float(await store.get("rate:many:k") or 0) > taken


async def test_a_bucket_leaves_nothing_behind(store: redis.asyncio.Redis) -> None:
    await Permits(store).spend(FEW, "k")
    assert 0 < await store.pttl("rate:few:k") <= 20_000_001


async def test_several_permits_are_spent_all_or_none(store: redis.asyncio.Redis) -> None:
    permits = Permits(store)
    assert await permits.spend(FEW, "k", 2) is None
    wait = await permits.spend(FEW, "k", 2)
    assert wait is not None
    assert 15_000 < wait <= 20_000
    assert await spend(permits, FEW, 2) == 1, "the one that was left is still there"


async def test_several_permits_are_spent_from_what_a_worker_holds_and_from_the_fleet(
    store: redis.asyncio.Redis,
) -> None:
    one, other = Permits(store), Permits(store)
    assert await one.spend(MANY, "k") is None
    assert await one.spend(MANY, "k", 500) is None
    assert await other.spend(MANY, "k", 480) is None
    assert await other.spend(MANY, "k", 30) is not None


async def test_a_limit_of_zero_limits_nothing_and_asks_nobody(store: redis.asyncio.Redis) -> None:
    assert await spend(Permits(store), Quota("off", 0), 50) == 50
    assert await store.keys() == []


async def test_while_redis_is_away_nothing_is_refused() -> None:
    with capture_logs() as logged:
        async with redis.asyncio.Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
            assert await spend(Permits(nowhere), FEW, 10) == 10
    assert {event["event"] for event in logged} == {"rate_limit.skipped"}


async def ask(app: RateLimit | Anonymous, client: str = "203.0.113.7") -> httpx2.Response:
    transport = httpx2.ASGITransport(app, client=(client, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.post("/register")


async def test_an_empty_bucket_is_429_with_when_to_come_back(store: redis.asyncio.Redis) -> None:
    app = RateLimit(PlainTextResponse("inside"), Permits(store), FEW, by_address)
    assert [(await ask(app)).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = await ask(app)
    assert 1 <= int(refused.headers["retry-after"]) <= 20_000
    assert refused.json()["error"]["code"] == -32600
    assert (await ask(app, "203.0.113.8")).status_code == 200


async def test_one_network_of_ipv6_is_one_client(store: redis.asyncio.Redis) -> None:
    app = RateLimit(PlainTextResponse("inside"), Permits(store), Quota("one", 1, window=60_000), by_address)
    assert (await ask(app, "2001:db8::1")).status_code == 200
    assert (await ask(app, "2001:db8::2")).status_code == 429
    assert (await ask(app, "2001:db8:0:1::1")).status_code == 200


async def test_principals_are_counted_wherever_they_come_from(store: redis.asyncio.Redis) -> None:
    limited = RateLimit(PlainTextResponse("inside"), Permits(store), Quota("one", 1, window=60_000), by_principal)
    assert (await ask(limited)).status_code == 200
    assert (await ask(Anonymous(limited), "203.0.113.7")).status_code == 200
    assert (await ask(Anonymous(limited), "203.0.113.8")).status_code == 429


async def test_permits_are_held_for_so_many_keys_and_given_up_for_the_one_used_longest_ago(
    store: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_REMEMBERED", 2)
    permits = Permits(store)
    for key in ("a", "b", "a", "c"):
        await permits.spend(MANY, key)
    assert [permits.spend_held(MANY, key) for key in ("a", "b", "c")] == [True, False, True]
