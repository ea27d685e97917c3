"""Trying again: sooner first, within five seconds at the latest, each worker at its own moment, not for every call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fleet.offers import offered
from mcp import Client
from mcp.shared.exceptions import MCPError

from switchboard.backends.health import Health, pause
from switchboard.identity.breaker import Breaker


def test_pauses_double_up_to_a_bound_that_lets_a_backend_serve_again_within_five_seconds() -> None:
    assert [pause(failures, 1.0) for failures in range(1, 8)] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert pause(10_000, 1.0) == 4.0


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
    raw: Any, fleet: Any, connect: Any, tmp_path: Path
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
    raw: Any, open_gateway: Any, tmp_path: Path
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
            async with asyncio.timeout(10):
                while True:
                    try:
                        await client.call_tool("broken__echo")
                        break
                    except MCPError:
                        await asyncio.sleep(0.05)
