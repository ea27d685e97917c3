"""Four worker processes are replaced, two at a time, while clients call: what a scrape tells never goes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from switchboard.telemetry.metrics import TABLE
from tests.cli.conftest import COMMAND, bare
from tests.telemetry.test_endpoint import Samples, read, total
from tools.fleet.children import LOOPBACK, Child, answers, free_port, start
from tools.fleet.redis_server import RedisServer
from tools.messages import call, modern, modern_headers

WORKERS = 4
PATIENCE = 300
MESSAGE = modern(call("echo", {"message": "hello"}))
REQUESTS = "switchboard_requests_total"
CALLS = {"method": "tools/call", "outcome": "ok", "era": "modern"}


@pytest.fixture
def served(tmp_path: Path, redis_server: RedisServer, redis_url: str) -> Iterator[tuple[Child, int, int]]:
    """Four workers of one command, its port, and its port for metrics."""
    port, metrics_port = free_port(), free_port()
    env = {"WORKERS": str(WORKERS), "METRICS_PORT": str(metrics_port), "REDIS_URL": redis_url, "AUTH_MODE": "none"}
    env |= {"SECRET_KEY": "k" * 48, "RATE_LIMIT": "0", "DRAIN_GRACE": "1", "DRAIN_TIMEOUT": "5", "MAX_LOOP_LAG": "0"}
    child = start("workers", [COMMAND, "serve", "--port", str(port)], tmp_path, bare(env))
    try:
        child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
        yield child, port, metrics_port
    finally:
        child.stop()


class Clients:
    """Clients that call without a pause, and count what was answered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.answered = 0
        self.failed: list[str] = []

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        left = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(self._call(left))
            try:
                yield
            finally:
                left.set()

    async def _call(self, left: asyncio.Event) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=120) as http:
            while not left.is_set():
                try:
                    answer = await http.post(self._url, json=MESSAGE, headers=modern_headers(MESSAGE))
                except httpx2.TransportError as error:
                    self.failed.append(repr(error))
                    continue
                assert answer.status_code == 200, answer.text
                self.answered += 1
                await asyncio.sleep(0.02)


def lasting(samples: Samples) -> Samples:
    """Those that must never go back."""
    gauges = {name for name, row in TABLE.items() if row.kind == "gauge"}
    return {key: value for key, value in samples.items() if key[0] not in gauges}


class Prometheus:
    """Who scrapes, and asks and tells workers by the API."""

    def __init__(self, http: httpx2.AsyncClient, port: int, metrics_port: int) -> None:
        self._http = http
        self._api = f"http://localhost:{port}/api/workers"
        self._metrics = f"http://{LOOPBACK}:{metrics_port}/metrics"
        self.scrapes: list[Samples] = []

    async def scrape(self) -> Samples:
        while True:
            try:
                answer = await self._http.get(self._metrics)
            except httpx2.TransportError:  # the worker that took the connection ended
                continue
            self.scrapes.append(read(answer.raise_for_status().text))
            return self.scrapes[-1]

    async def until(self, holds: Callable[[Samples], bool]) -> Samples:
        async with asyncio.timeout(PATIENCE):
            while not holds(told := await self.scrape()):
                await asyncio.sleep(0.2)
        return told

    async def workers(self) -> set[str]:
        told = (await self._http.get(self._api)).raise_for_status().json()
        return {row["id"] for row in told["items"] if row["state"] == "serving"}

    async def replace(self, *workers: str) -> None:
        for worker in workers:
            (await self._http.post(f"{self._api}/{worker}/drain")).raise_for_status()
        await self.until(lambda told: not all_serve(told))
        await self.until(all_serve)


def all_serve(told: Samples) -> bool:
    return total(told, "switchboard_workers", state="serving") == WORKERS


def went_back(scrapes: list[Samples]) -> list[object]:
    """What was less, or gone, in a later scrape."""
    followed = zip(map(lasting, scrapes), map(lasting, scrapes[1:]), strict=False)
    return [key for before, after in followed for key, value in before.items() if after.get(key, -1) < value]


async def test_no_counter_goes_back_in_a_rolling_restart_and_the_sum_is_what_clients_counted(
    served: tuple[Child, int, int],
) -> None:
    _child, port, metrics_port = served
    clients = Clients(f"http://localhost:{port}/mcp")
    async with httpx2.AsyncClient(trust_env=False, timeout=120, headers={"connection": "close"}) as http:
        prometheus = Prometheus(http, port, metrics_port)
        await prometheus.until(all_serve)
        first = await prometheus.workers()
        async with clients.calling():
            one, two, three, four = sorted(first)
            await prometheus.replace(one, two)
            await prometheus.replace(three, four)
        assert not first & await prometheus.workers()
        told = await prometheus.until(lambda told: total(told, REQUESTS, **CALLS) >= clients.answered)
    assert clients.failed == []
    assert clients.answered > 100
    assert total(told, REQUESTS, **CALLS) == clients.answered
    buckets = {"le": "+Inf", "era": "modern", "provider": "everything"}
    assert total(told, "switchboard_request_duration_seconds_bucket", **buckets) == clients.answered
    assert went_back(prometheus.scrapes) == []
