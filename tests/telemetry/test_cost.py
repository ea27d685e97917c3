"""What counting costs a request, in calls: it is on the way of every one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from switchboard.http.middleware.access import About, as_named
from switchboard.http.middleware.request_log import _count
from switchboard.telemetry import metrics


def calls(of: Callable[[], Any]) -> list[str]:
    """The functions that are called, Python's own too."""
    made: list[str] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event in ("call", "c_call"):
            made.append(frame.f_code.co_name if event == "call" else called.__name__)

    sys.setprofile(note)
    try:
        of()
    finally:
        sys.setprofile(None)
    return made[1:-1]  # without `of` itself, and what ends this


def test_a_request_costs_two_look_ups_in_dictionaries_more_than_what_it_is_counted_in() -> None:
    about = About(as_named)
    about.called("echo", "everything")
    about.era = "modern"
    scope = {"type": "http"}
    _count(scope, about, 200, 0.004)  # the first of its kind makes its cell
    made = calls(lambda: _count(scope, about, 200, 0.004))
    assert made == ["_count", "get", "get", "request_served", "get", "bisect_left"]


def test_a_round_trip_to_redis_costs_one_look_up() -> None:
    metrics.REDIS_ROUND_TRIPS.add("lookups")
    assert calls(lambda: metrics.REDIS_ROUND_TRIPS.add("lookups")) == ["add", "get"]


def test_requests_that_are_alike_are_kept_as_one() -> None:
    metrics.request_served("tools/list", "ok", 0.001, "modern")
    kept = len(metrics.cells())
    for number in range(1_000):
        metrics.request_served("tools/list", "ok", number / 100, "modern")
    assert len(metrics.cells()) == kept
