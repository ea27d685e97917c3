"""A worker that is told to leave while Redis is gone ends, though calls are running and streams are open."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

import httpx2
import pytest

from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.fleet.redis_server import RedisServer
from tools.messages import ACCEPT, INITIALIZE, call

PATIENCE = 300
DRAIN_S = 3
WITHIN_S = 35
"""Less than the minute for which a running call waits for Redis, and more than a busy machine takes."""


@pytest.mark.parametrize("gone", ["killed", "frozen"])
def test_a_worker_ends_soon_after_its_time_though_redis_is_gone(
    launch: Callable[..., Child], start_private_redis: Callable[..., RedisServer], gone: str
) -> None:
    server, port = start_private_redis(), free_port()
    assert server.child is not None
    child = launch(
        *("serve", "--port", str(port)),
        REDIS_URL=server.url,
        SECRET_KEY=secrets.token_urlsafe(32),
        AUTH_MODE="none",
        DRAIN_GRACE="0",
        DRAIN_TIMEOUT=str(DRAIN_S),
    )
    child.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    url = f"http://{LOOPBACK}:{port}/mcp"
    opened = httpx2.post(url, json=INITIALIZE, headers=ACCEPT, timeout=60)
    session = {**ACCEPT, "mcp-session-id": opened.headers["mcp-session-id"]}
    speaks = threading.Event()
    threading.Thread(target=_call, args=(url, session, speaks), daemon=True).start()
    assert speaks.wait(120)
    if gone == "killed":
        server.child.kill()
    else:
        server.child.freeze()
    try:
        child.process.terminate()
        assert child.process.wait(WITHIN_S) == 0
    finally:
        server.child.thaw() if gone == "frozen" else None


def _call(url: str, session: dict[str, str], speaks: threading.Event) -> None:
    arguments = {"duration": 100, "steps": 100}
    message = call("longRunningOperation", arguments, progressToken="p")
    try:
        with httpx2.stream("POST", url, json=message, headers=session, timeout=100) as stream:
            for line in stream.iter_lines():
                if "progress" in line:
                    speaks.set()
    except httpx2.HTTPError:
        return
