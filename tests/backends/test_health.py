"""Trying again: sooner first, within five seconds at the latest, each worker at its own moment, not for every call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from mcp import Client
from mcp.shared.exceptions import MCPError

from switchboard.backends import Backend, Http, Stdio
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.errors import BackendFailure, Broken
from switchboard.backends.health import Health, pause
from switchboard.backends.transports.child import StderrTail
from switchboard.common.breaker import Breaker
from tests.backends.conftest import Connect, Fleet, Open, Raw, Serve
from tools.fleet.workers import offered


def test_pauses_double_up_to_a_bound_that_lets_a_backend_serve_again_within_five_seconds() -> None:
    assert [pause(failures, 1.0) for failures in range(1, 8)] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert pause(10_000, 1.0) == 4.0


def test_pauses_before_what_somebody_has_to_mend_grow_to_minutes() -> None:
    pauses = [pause(failures, 1.0, broken=True) for failures in range(1, 13)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]
    assert pause(10_000, 0.0, broken=True) == 150.0  # jitter: half of it at least


def test_a_breaker_stays_open_longer_with_each_failure_that_will_last() -> None:
    breaker = Breaker(threshold=2, pause=5, longest=15)
    now, gaps = 0.0, []
    for _ in range(5):
        breaker.failed(now, lasting=True)
        opens = next(later for later in range(100) if breaker.allows(now + later))
        gaps.append(opens)
        now += opens
    assert gaps == [0, 5, 10, 15, 15]
    assert breaker.failing
    breaker.succeeded()
    breaker.failed(now)
    breaker.failed(now)
    assert not breaker.allows(now + 4)
    assert breaker.allows(now + 5)  # one that may pass by itself is tried soon


def test_pauses_differ_by_chance_so_that_workers_do_not_knock_together() -> None:
    assert [pause(5, dice) for dice in (0.0, 0.5, 1.0)] == [2.0, 3.0, 4.0]


def test_health_counts_failures_in_a_row_and_forgets_them_with_an_answer() -> None:
    failing = Health().failed("a").failed("b")
    assert (failing.condition, failing.failures, failing.reason) == ("failing", 2, "b")
    assert failing.ready() == Health("ready")


def test_a_breaker_opens_lets_one_try_and_closes_with_an_answer() -> None:
    breaker = Breaker(threshold=2, pause=5)
    assert breaker.allows(0)
    breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert not breaker.allows(4.9)  # open
    assert breaker.allows(5.1)  # half-open: one for all
    assert not breaker.allows(5.2)
    breaker.failed(5.3)
    assert not breaker.allows(10.2)
    assert breaker.allows(10.4)
    breaker.succeeded()
    assert breaker.allows(10.5)
    assert breaker.allows(10.5)


async def test_a_connection_that_works_does_not_hide_that_no_other_starts(
    raw: Raw, fleet: Fleet, connect: Connect, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    [url] = await fleet([raw("broken", "tally", str(tally), scope="session")])
    async with connect(url, "handshake") as working, connect(url, "handshake") as client:
        await offered(working, "broken__echo")
        await working.call_tool("broken__echo")
        tally.unlink()
        tally.mkdir()  # whoever starts from now on fails
        reasons = []
        for _ in range(5):
            with pytest.raises(MCPError, match="Backend 'broken'") as caught:
                await client.call_tool("broken__echo")
            reasons.append(caught.value.error.message)
            await working.call_tool("broken__echo")
    assert any("it failed to start several times in a row; last: " in reason for reason in reasons)


async def test_a_backend_that_cannot_start_is_not_started_for_every_call(
    raw: Raw, open_gateway: Open, tmp_path: Path
) -> None:
    tally = tmp_path / "started"
    async with open_gateway(raw("broken", "tally", str(tally), scope="session")) as opened:
        await opened.discovered()
        tally.unlink()
        tally.mkdir()  # from now on it cannot start: it cannot write down that it did
        async with Client(opened.server) as client:

            async def reason() -> str:
                with pytest.raises(MCPError, match="Backend 'broken'") as caught:
                    await client.call_tool("broken__echo")
                return caught.value.error.message

            reasons = [await reason() for _ in range(8)]
            assert sum("IsADirectoryError" in one and "in a row" not in one for one in reasons) <= 4
            assert "it failed to start several times in a row; last: " in reasons[-1]
            tally.rmdir()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await client.call_tool("broken__echo")
                        break
                    except MCPError:
                        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("status", "lasts", "why"),
    [
        (401, True, "HTTP 401 who are you"),
        (403, True, "HTTP 403"),
        (404, True, "no protocol version in common"),
        (503, False, "HTTP 503"),
        (0, False, "All connection attempts failed"),
    ],
)
async def test_a_server_that_refuses_us_is_told_from_one_that_is_away(
    status: int, lasts: bool, why: str, serve: Serve, open_gateway: Open, free_ports: list[int]
) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"who are you"})

    url = await serve(refusing) if status else f"http://127.0.0.1:{free_ports[0]}/mcp"
    async with open_gateway(Backend("far", Http((url,)), scope="shared")) as opened:
        await opened.until(lambda: opened.providers["far"].health.condition == "failing")
        assert why in opened.providers["far"].health.reason
        with pytest.raises(BackendFailure, match=why) as caught:
            async with opened.providers["far"].pool.connection(ConnectionKey("shared", "", "x"), {}):
                pass
    assert isinstance(caught.value, Broken) is lasts


async def test_a_server_that_exits_is_waited_for_longer_and_said_once(
    raw: Raw, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, bool]] = []

    def noted(failures: int, _dice: float, *, broken: bool = False) -> float:
        asked.append((failures, broken))
        return 0.01 if broken else 0.02

    monkeypatch.setattr("switchboard.backends.health.pause", noted)
    with structlog.testing.capture_logs() as logs:
        async with open_gateway(raw("gone", "exit"), Backend("typo", Stdio("no-such-program"))) as opened:
            await opened.until(lambda: all(one.health.failures > 5 for one in opened.providers.values()))
            assert opened.providers["gone"].health.reason == "it exited with 7: no such database"
            assert opened.providers["gone"].pool.stderr_tail == ("no such database",)
    assert all(broken for _, broken in asked)
    loud = [row for row in logs if row["log_level"] != "debug" and row.get("backend") == "gone"]
    assert sorted(row["event"] for row in loud) == ["backend.failed", "backend.start_failed", "backend.stderr_written"]


async def test_the_reason_of_a_crash_is_whole_and_without_the_places_in_code() -> None:
    crash = """node:internal/modules/cjs/loader:1228
  throw err;
  ^

Error: Cannot find module '/srv/missing.js'
    at Function._resolveFilename (node:internal/modules/cjs/loader:1225:15)
    at node:internal/main/run_main_module:36:49 {
  code: 'MODULE_NOT_FOUND',
  requireStack: []
}

Node.js v22.19.0
"""
    words = StderrTail("node", lambda: True)
    words.feed(crash.encode())
    words.feed(b"")
    assert str(words) == (
        "Error: Cannot find module '/srv/missing.js' |   code: 'MODULE_NOT_FOUND', |   requireStack: []"
        " | Node.js v22.19.0"
    )
