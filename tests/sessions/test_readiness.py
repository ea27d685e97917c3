"""What a worker says about itself and its Redis."""

from __future__ import annotations

from typing import Any

from tests.sessions.conftest import Start, Workers


async def readiness(workers: Workers) -> Any:
    return (await workers.http.get(workers.a.url.replace("/mcp", "/readyz"))).json()


async def test_a_worker_on_a_redis_that_keeps_nothing_says_so_and_is_ready(start: Start) -> None:
    said = await readiness(await start(1))
    assert (said["status"], said["state"]) == ("ready", "redis")
    assert any("appendonly" in warning for warning in said["warnings"])


async def test_a_worker_with_state_in_memory_has_nothing_to_warn_of(start: Start) -> None:
    said = await readiness(await start(1, memory=True))
    assert (said["status"], said["warnings"]) == ("ready", [])
