"""The harness in its short form: it finds nothing lost, and it can find something.

Left out of the ordinary run (`-m chaos` runs them): they judge silences in seconds, and so need a machine of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.chaos

Run = Callable[..., Any]

SMALL = ("--workers", "3", "--clients", "24", "--processes", "1", "--pause", "0.5", "--settle", "3")
KILLS = ("--seconds", "22", "--fault", "kill", "--every", "3")


def test_five_kills_under_load_lose_no_session_and_no_event(chaos: Run) -> None:
    done = chaos(*SMALL, *KILLS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert number(r"(\d+) kill", done.stdout) >= 5
    assert number(r"(\d+) kept, 0 lost", done.stdout) == 12
    assert "BROKEN" not in done.stdout


def test_clients_that_resume_nothing_are_reported_to_lose_events(chaos: Run) -> None:
    done = chaos(*SMALL, *KILLS, "--no-replay")
    assert done.returncode == 1, done.stdout + done.stderr
    assert number(r"received, (\d+) lost", done.stdout) > 0
    assert "BROKEN  no event is lost" in done.stdout


def test_a_rolling_restart_under_load_fails_no_call(chaos: Run) -> None:
    done = chaos(*SMALL, "--seconds", "30", "--fault", "roll", "--every", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert number(r"(\d+) roll", done.stdout) >= 3
    assert "availability 100.000 %" in done.stdout


def test_redis_killed_under_load_loses_no_session_and_no_event(chaos: Run) -> None:
    done = chaos(*SMALL, "--seconds", "20", "--fault", "redis-kill", "--fsync", "always", "--every", "5", "--hold", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert number(r"(\d+) redis-kill", done.stdout) >= 1


def number(pattern: str, text: str) -> int:
    """The number that the pattern finds."""
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])
