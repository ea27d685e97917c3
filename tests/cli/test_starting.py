"""A worker that starts while Redis is away."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

import httpx2
import pytest

from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.fleet.redis_server import RedisServer

Launch = Callable[..., Child]
PATIENCE = 300


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_it_waits_alive_but_not_ready_says_so_once_and_serves_when_redis_is_there(
    launch: Launch, start_private_redis: Callable[..., RedisServer], more: tuple[str, ...]
) -> None:
    port, there = free_port(), free_port()
    child = launch(
        *("serve", "--port", str(port), *more),
        REDIS_URL=f"redis://{LOOPBACK}:{there}/0",
        SECRET_KEY=secrets.token_urlsafe(32),
        AUTH_MODE="none",
        LOG_FORMAT="json",
    )
    child.wait_until(lambda: answers(port, "/healthz"), PATIENCE)
    base = f"http://{LOOPBACK}:{port}"
    ready = httpx2.get(f"{base}/readyz", timeout=60)
    assert ready.status_code == 503
    assert ready.json()["status"] == "starting"
    asked = httpx2.post(f"{base}/mcp", json={}, timeout=60)
    assert asked.status_code == 503
    assert int(asked.headers["retry-after"]) > 0
    start_private_redis(port=there)
    child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    said = [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{")]
    assert [one["message"] for one in said].count("redis.awaited") == 1
    assert child.stop() == 0


def test_a_password_that_redis_refuses_is_no_reason_to_wait(
    launch: Launch, start_private_redis: Callable[..., RedisServer]
) -> None:
    server = start_private_redis(options=["--requirepass", "right"])
    url = server.url.replace("redis://", "redis://:sesame@")
    child = launch("serve", "--port", str(free_port()), REDIS_URL=url, SECRET_KEY=secrets.token_urlsafe(32))
    assert child.process.wait(PATIENCE) == 2
    log = child.log.read_text()
    assert "REDIS_URL: Redis refuses the user or the password" in log
    assert "sesame" not in log
    assert "Traceback" not in log


def test_it_leaves_at_once_when_it_is_told_to_while_it_waits(launch: Launch) -> None:
    port = free_port()
    child = launch(
        *("serve", "--port", str(port)),
        REDIS_URL=f"redis://{LOOPBACK}:{free_port()}/0",
        SECRET_KEY=secrets.token_urlsafe(32),
        DRAIN_GRACE="0",
    )
    child.wait_until(lambda: answers(port, "/healthz"), PATIENCE)
    assert child.stop(timeout=60) == 0
    assert "Traceback" not in child.log.read_text()
