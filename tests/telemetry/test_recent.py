"""The last minutes of a process, from what was counted."""

from __future__ import annotations

import pytest

from switchboard.telemetry.metrics import BOUNDS, METHODS, MOST_SERIES, Cell, Labels
from switchboard.telemetry.recent import POINTS, Recent, quantile


class Counted:
    """Counts of requests and a clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.cells: dict[Labels, Cell] = {}
        self.recent = Recent(lambda: self.cells, lambda: self.now)

    def served(self, outcome: str, bucket: int, count: int = 1, method: str = "tools/call") -> None:
        cell = self.cells.setdefault((method, outcome, "modern", ""), Cell())
        cell.counts[bucket] += count

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.recent.look()


def test_the_last_minute_says_how_many_requests_a_second_there_were_and_how_many_failed() -> None:
    counted = Counted()
    counted.served("ok", 3, 50)
    counted.served("failed", 3, 10)
    counted.after(5)
    counted.after(5)
    told = counted.recent.tell()
    assert told["per_second"] == 6.0
    assert told["errors"] == 10
    assert [(point["at"], point["per_second"], point["errors"]) for point in told["history"]] == [
        (1005, 12.0, 10),
        (1010, 0.0, 0),
    ]


def test_what_happened_since_the_last_look_counts_already() -> None:
    counted = Counted()
    counted.after(5)
    counted.served("ok", 0, 30)
    counted.now += 1
    assert counted.recent.tell()["per_second"] == 5.0


def test_what_is_older_than_a_minute_is_in_the_history_and_not_in_the_rates() -> None:
    counted = Counted()
    counted.served("failed", 3, 600)
    counted.after(5)
    for _ in range(13):
        counted.after(5)
    told = counted.recent.tell()
    assert told["per_second"] == told["errors"] == 0
    assert told["p95_ms"] is None
    assert told["history"][0]["errors"] == 600


def test_the_history_is_bounded() -> None:
    counted = Counted()
    for _ in range(POINTS + 5):
        counted.after(5)
    assert len(counted.recent.tell()["history"]) == POINTS


def test_a_stream_that_lasts_is_a_request_and_no_latency() -> None:
    counted = Counted()
    counted.served("ok", 2, 9)
    counted.served("ok", len(BOUNDS), 1, method="subscriptions/listen")
    counted.after(10)
    told = counted.recent.tell()
    assert told["per_second"] == 1.0
    assert told["p95_ms"] <= 1000 * BOUNDS[2]


@pytest.mark.parametrize(("share", "milliseconds"), [(0.5, 1.0), (0.95, 4.75)])
def test_a_quantile_is_linear_within_its_bucket(share: float, milliseconds: float) -> None:
    counts = [0] * (len(BOUNDS) + 1)
    counts[1], counts[3] = 50, 50  # to 1 ms, and from 2.5 to 5 ms
    assert quantile(counts, share) == milliseconds


def test_a_method_that_a_client_invented_is_counted_as_other_and_a_metric_has_so_many_series() -> None:
    from switchboard.telemetry import metrics

    before = metrics.cells().get(("other", "refused", "", ""), Cell()).total
    for number in range(MOST_SERIES * 2):
        metrics.request_served(f"invented/{number}", "refused", 0.001)
    assert metrics.cells()["other", "refused", "", ""].total == before + 2 * MOST_SERIES
    assert not [key for key in metrics.cells() if "invented" in key[0]]
    assert "tools/call" in METHODS
