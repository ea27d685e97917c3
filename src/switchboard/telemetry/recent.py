"""Rates, latencies and errors of the last minutes of this process, in memory, whether or not metrics are served.

Nothing is noted for each request: every few seconds `Recent.look` compares the counts of `metrics` with those before.
Latencies are read from buckets, so they are right within a bucket's width.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from switchboard.telemetry import metrics

EVERY_S: Final = 5.0
"""What one point of the history stands for."""

POINTS: Final = 60
"""Points that are kept: five minutes."""

RATE_S: Final = 60.0
"""What rates, errors and latencies are told of."""

FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Point:
    """What happened between two looks.

    Args:
        at: when it ended, in seconds of Unix time.
        seconds: how long it was.
        counts: of latencies, by the buckets of `metrics.BOUNDS`.
    """

    at: float
    seconds: float
    requests: int
    errors: int
    counts: Sequence[int]

    def shown(self) -> dict[str, Any]:
        """As a document."""
        return {
            "at": round(self.at),
            "per_second": round(self.requests / self.seconds, 2) if self.seconds else 0.0,
            "errors": self.errors,
            "p50_ms": quantile(self.counts, 0.5),
            "p95_ms": quantile(self.counts, 0.95),
        }


class Recent:
    """The last minutes.

    Args:
        cells: what was counted so far; see `metrics.cells`.
        clock: Unix time, in seconds.
    """

    def __init__(
        self,
        cells: Callable[[], Mapping[metrics.Labels, metrics.Cell]] = metrics.cells,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cells = cells
        self._clock = clock
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._looked = clock()
        self._before = _totals(cells())

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """Make the next point of the history."""
        self._points.append(self._since())
        self._before, self._looked = _totals(self._cells()), self._clock()

    def _since(self) -> Point:
        now = self._clock()
        requests, errors, counts = _totals(self._cells())
        before_requests, before_errors, before_counts = self._before
        fresh = [count - before for count, before in zip(counts, before_counts, strict=True)]
        return Point(now, now - self._looked, requests - before_requests, errors - before_errors, fresh)

    def tell(self) -> dict[str, Any]:
        """As a document: the last minute together, and the history, oldest first.

        `{"per_second", "errors", "p50_ms", "p95_ms", "seconds", "history": [{"at", "per_second", "errors", "p50_ms",
        "p95_ms"}]}`. A latency is `None` when there was no request.
        """
        latest = self._since()
        points = [*self._points, latest]
        minute = [point for point in points if point.at > latest.at - RATE_S]
        seconds = sum(point.seconds for point in minute)
        together = Point(
            latest.at,
            seconds,
            sum(point.requests for point in minute),
            sum(point.errors for point in minute),
            [sum(counts) for counts in zip(*(point.counts for point in minute), strict=True)],
        )
        shown = together.shown()
        del shown["at"]
        return {**shown, "seconds": round(seconds), "history": [point.shown() for point in self._points]}


def _totals(cells: Mapping[metrics.Labels, metrics.Cell]) -> tuple[int, int, list[int]]:
    requests = errors = 0
    counts = [0] * (len(metrics.BOUNDS) + 1)
    for (method, outcome, _era, _provider), cell in cells.items():
        total = cell.total
        requests += total
        errors += total if outcome == FAILED else 0
        if method not in metrics.LASTING:
            counts = [a + b for a, b in zip(counts, cell.counts, strict=True)]
    return requests, errors, counts


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Milliseconds within which this share of requests ended, linear within a bucket; `None` without a request."""
    rank, passed = share * sum(counts), 0
    if not rank:
        return None
    for index, count in enumerate(counts):
        if passed + count >= rank and count:
            low = metrics.BOUNDS[index - 1] if index else 0.0
            high = metrics.BOUNDS[index] if index < len(metrics.BOUNDS) else low
            return round(1000 * (low + (high - low) * (rank - passed) / count), 2)
        passed += count
    return None
