"""The harness in its short form: it finds nothing lost, and it can find something.

Small, so that a busy machine of two processors can do it: few clients, and faults counted instead of seconds. How long
a client waits there says nothing, so silences are judged in the long runs (docs/reliability.md) and only bounded here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]

SMALL = ("--workers", "2", "--clients", "12", "--processes", "1", "--pause", "1", "--settle", "2", "--silence", "60")


def test_killed_workers_and_a_killed_redis_lose_no_session_and_no_event(chaos: Run) -> None:
    kills = ("--fault", "kill") * 5 + ("--fault", "redis-kill", "--fsync", "always", "--hold", "1")
    done = chaos(*SMALL, *kills, "--times", "6", "--every", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (number(r"(\d+) kill", done.stdout), number(r"(\d+) redis-kill", done.stdout)) == (5, 1)
    assert number(r"(\d+) kept, 0 lost", done.stdout) == 6
    assert "BROKEN" not in done.stdout


def test_clients_that_resume_nothing_are_reported_to_lose_events(chaos: Run) -> None:
    busy = ("--clients", "24", "--pause", "0.3")  # enough is said while a stream is away for a second
    done = chaos(*SMALL, *busy, "--fault", "kill", "--times", "4", "--every", "0.5", "--no-replay")
    assert done.returncode == 1, done.stdout + done.stderr
    assert number(r"received, (\d+) lost", done.stdout) > 0
    assert "BROKEN  no event is lost" in done.stdout


def test_a_rolling_restart_to_the_next_version_fails_no_call(chaos: Run) -> None:
    done = chaos(*SMALL, "--fault", "upgrade", "--times", "1", "--every", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert number(r"(\d+) upgrade", done.stdout) == 2
    assert "availability 100.000 %" in done.stdout


def number(pattern: str, text: str) -> int:
    """The number that the pattern finds."""
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])
