"""A worker whose machine's clock is wrong serves sign-ins that others began, and others serve those that it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tools.fleet.balancer import find_nginx, start_balancer
from tools.fleet.children import answers, free_port
from tools.fleet.redis_server import RedisServer
from tools.fleet.workers import START_TIMEOUT, drive_token, fleet_settings, launch_worker

MINUTES_AHEAD = """
import time
_right = time.time
time.time = lambda: _right() + 300
"""


@pytest.fixture
def ports(tmp_path: Path, start_private_redis: Callable[..., RedisServer]) -> Iterator[tuple[int, int, int]]:
    """A balancer, and two workers behind it, of which the second is five minutes ahead."""
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "sitecustomize.py").write_text(MINUTES_AHEAD)
    front, right, wrong = free_port(), free_port(), free_port()
    env = fleet_settings(f"http://localhost:{front}", start_private_redis().url)
    children = [
        launch_worker(tmp_path, right, env),
        launch_worker(tmp_path, wrong, {**env, "PYTHONPATH": str(tmp_path / "wrong")}),
    ]
    try:
        for port, child in zip((right, wrong), children, strict=True):
            child.wait_until(lambda port=port: answers(port, "/readyz"), START_TIMEOUT)  # type: ignore[misc]
        children.append(start_balancer(tmp_path, front, (right, wrong), nginx=find_nginx()).child)
        yield front, right, wrong
    finally:
        for child in children:
            child.stop()


def test_every_sign_in_succeeds_whichever_workers_serve_its_steps(ports: tuple[int, int, int]) -> None:
    front, right, wrong = ports
    tokens = []
    for number in range(4):
        if number % 2:  # the balancer takes turns: now each step is the other worker's
            httpx2.get(f"http://localhost:{front}/healthz", timeout=60)
        tokens.append(drive_token(f"http://localhost:{front}", f"user{number}"))
    for token in tokens:
        for port in (right, wrong):
            headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
            asked = httpx2.post(
                f"http://127.0.0.1:{port}/mcp",
                headers={**headers, "host": f"localhost:{front}"},
                json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
                timeout=20,
            )
            assert asked.status_code == 400, "it has no session, but its token is good"
    warnings = [httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=60).json()["warnings"] for port in (right, wrong)]
    assert not any("clock" in each for each in warnings[0])
    assert any("300 s ahead of that of Redis" in each for each in warnings[1])
