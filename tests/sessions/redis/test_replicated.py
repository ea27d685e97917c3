"""With REDIS_WAIT_REPLICAS, what a client was told outlives the master that it was written to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from switchboard.cli.login import obtain_token
from switchboard.state import open_state
from tests.sessions.conftest import Workers, serving
from tools.fleet.children import free_port
from tools.fleet.redis_server import RedisServer

CLIENT_AND_CODE = 2
"""A client that registers, and a code that is spent for tokens."""

MUST_LAST = 2
"""A session that is opened, and the last frame of a reply that became a stream."""


@pytest.fixture
async def worker(start_private_redis: Callable[..., RedisServer]) -> Any:
    """A worker that waits for a replica on a Redis that has none."""
    url = start_private_redis().url
    async with (
        serving(url, redis_wait_replicas=1, redis_wait_ms=20) as one,
        open_state(url) as state,
        httpx2.AsyncClient(timeout=60) as http,
    ):
        yield Workers([one], http, state)


async def test_sessions_and_last_frames_are_served_with_a_warning_when_no_replica_has_them(worker: Any) -> None:
    session = await worker.open()
    behind = worker.a.app.rooms.state.replicas
    assert behind.behind == MUST_LAST - 1
    await session.call(worker.a, "echo", {"message": "x"})
    assert behind.behind == MUST_LAST - 1, "a short answer is stored nowhere, so there is nothing to wait for"
    call = {"name": "longRunningOperation", "arguments": {"duration": 0.2, "steps": 2}, "_meta": {"progressToken": 1}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    async with session.stream(worker.a, message) as events:
        assert len(await events.rest()) == 3
    assert behind.behind == MUST_LAST
    said = (await worker.http.get(worker.a.url.replace("/mcp", "/readyz"))).json()
    assert said["status"] == "ready"
    assert any("REDIS_WAIT_REPLICAS" in warning for warning in said["warnings"])


async def test_a_token_is_waited_for_as_well(redis_url: str) -> None:
    port = free_port()
    given: dict[str, Any] = {"auth_mode": "integrated", "base_uri": f"http://localhost:{port}"}
    async with serving(redis_url, port, redis_wait_replicas=1, redis_wait_ms=5, **given) as worker:
        await asyncio.to_thread(obtain_token, worker.url, user="alice", scope=None)
        assert worker.app.rooms.state.replicas.behind == CLIENT_AND_CODE
