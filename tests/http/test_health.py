from __future__ import annotations

import httpx2
import pytest
from starlette.applications import Starlette

from switchboard.http.probes import Readiness, health_routes


async def ask(path: str, readiness: Readiness) -> httpx2.Response:
    async def now() -> Readiness:
        return readiness

    transport = httpx2.ASGITransport(Starlette(routes=health_routes(now)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get(path)


async def test_readiness_says_where_state_is_and_which_worker_answered() -> None:
    answer = await ask("/readyz", Readiness("ready", "memory://", "w1", "0.1.0"))
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "state": "memory://",
        "worker": "w1",
        "version": "0.1.0",
        "details": {},
        "warnings": [],
    }


async def test_a_degraded_worker_stays_in_the_balancer() -> None:
    answer = await ask("/readyz", Readiness("degraded", "redis", "w1", details={"redis": "away"}))
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["details"] == {"redis": "away"}


async def test_warnings_do_not_make_a_worker_less_ready() -> None:
    answer = await ask("/readyz", Readiness("ready", "redis", "w1", warnings=("it evicts",)))
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["it evicts"])


async def test_a_draining_worker_leaves_the_balancer() -> None:
    answer = await ask("/readyz", Readiness("draining", "redis", "w1"))
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")


@pytest.mark.parametrize("readiness", [Readiness("draining", "redis", "w1"), Readiness("degraded", "redis", "w1")])
async def test_a_process_is_alive_whatever_its_readiness(readiness: Readiness) -> None:
    assert (await ask("/healthz", readiness)).json() == {"status": "ok"}
