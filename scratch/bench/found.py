"""Medians of what was measured, by row and contestant; and the goals that they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scratch.bench.measure import DIRECT

OURS: Final = "Switchboard"
KIB: Final = 1024
TIMES: Final = "\N{MULTIPLICATION SIGN}"
DASH: Final = "\N{EN DASH}"
EXAMPLE_OF_SDK: Final = 450 / 2235
"""example-remote-server (official, Node, Redis) answered 450 calls a second where the SDK's server answered 2,235."""

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """All rows."""

    rows: Mapping[str, Any]

    def rounds(self, row: str, name: str) -> Sequence[Figures]:
        """What each round gave."""
        found: Sequence[Figures] = self.rows.get(row, {}).get("rounds", {}).get(name, ())
        return found

    def names(self, row: str) -> Sequence[str]:
        """The contestants that were measured, in the order of the first round."""
        return list(self.rows.get(row, {}).get("rounds", {}))

    def wrong(self, row: str, name: str) -> int:
        """Wrong answers in all rounds: with any, there is no figure."""
        return sum(int(each["wrong"]) for each in self.rounds(row, name))

    def get(self, row: str, name: str, key: str) -> float | None:
        """The median of a figure; nothing if it was not measured, or any answer was wrong."""
        values = [float(each[key]) for each in self.rounds(row, name) if each.get(key)]
        return statistics.median(values) if values and not self.wrong(row, name) else None

    def ratio(self, row: str, one: str, other: str, key: str = "rate") -> float | None:
        """How many times the other's figure one's is."""
        mine, theirs = self.get(row, one, key), self.get(row, other, key)
        return mine / theirs if mine is not None and theirs else None

    def added(self, row: str, one: str, other: str) -> float | None:
        """By how many milliseconds one's median is above the other's, at one connection."""
        mine, theirs = self.get(row, one, "single_p50"), self.get(row, other, "single_p50")
        return None if mine is None or theirs is None else mine - theirs


@dataclass(frozen=True)
class Check:
    """One figure of a goal."""

    what: str
    value: float | None
    limit: float
    unit: str = TIMES
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether it is; nothing if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.what}: not measured"
        sign = "≥" if self.at_least else "≤"
        return f"{self.what} {number(self.value)}{_unit(self.unit)} ({sign} {number(self.limit)})"

    @property
    def verdict(self) -> str:
        """In a word, and by how much it was missed."""
        if self.value is None:
            return DASH
        if self.met:
            return "met"
        if not self.value or not self.limit:
            return "**missed**"
        missing = self.limit / self.value if self.at_least else self.value / self.limit
        return f"**missed** by a factor of {missing:.1f}" if missing >= 2 else f"**missed** by {missing - 1:.0%}"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit not in ("", TIMES, "/s") else unit


@dataclass(frozen=True)
class Goal:
    """A row of the table of goals."""

    work: str
    checks: Callable[[Found], Iterator[Check]]


def _ratios(row: str, *others: tuple[str, float], mine: str = OURS) -> Callable[[Found], Iterator[Check]]:
    def checks(found: Found) -> Iterator[Check]:
        for other, limit in others:
            yield Check(other, found.ratio(row, mine, other), limit)

    return checks


def _modern(found: Found) -> Iterator[Check]:
    yield from _ratios("modern", ("SDK, JSON", 3.5))(found)
    yield Check("p50 alone, of the SDK's", found.ratio("modern", OURS, "SDK, JSON", "single_p50"), 1, at_least=False)


def _context(found: Found) -> Iterator[Check]:
    yield from _ratios("progress", ("SDK, SSE", 2))(found)
    yield Check("SDK, JSON, no report wanted", found.ratio("context", OURS, "SDK, JSON"), 2)


def _handshake(found: Found) -> Iterator[Check]:
    yield from _ratios("handshake", ("SDK, JSON", 3.5), ("SDK, SSE", 8))(found)
    ratio = found.ratio("handshake", OURS, "SDK, JSON")
    yield Check("example-remote-server, as recorded", ratio / EXAMPLE_OF_SDK if ratio else None, 12)


def _lists(found: Found) -> Iterator[Check]:
    for era in ("modern", "handshake"):
        yield Check(f"{era}: SDK, JSON", found.ratio(f"list-{era}", OURS, "SDK, JSON"), 5)


def _http(found: Found) -> Iterator[Check]:
    for era in ("modern", "handshake"):
        row = f"http-{era}"
        yield Check(era, found.get(row, OURS, "rate"), 3000, "/s")
        yield Check(f"{era}: FastMCP proxy", found.ratio(row, OURS, "FastMCP proxy"), 100)
        yield Check(f"{era}: p50 added alone", found.added(row, OURS, "the backend itself"), 0.5, "ms", at_least=False)


def _stdio(found: Found) -> Iterator[Check]:
    for era in ("modern", "handshake"):
        mine = f"{OURS}, {era}"
        yield Check(f"{era}: {DIRECT}", found.ratio("stdio", mine, DIRECT), 0.9)
        bridges = [name for name in found.names("stdio") if name != DIRECT and not name.startswith(OURS)]
        ratios = [ratio for name in bridges if (ratio := found.ratio("stdio", mine, name)) is not None]
        yield Check(f"{era}: the fastest bridge", min(ratios) if ratios else None, 1)


def _elsewhere(found: Found) -> Iterator[Check]:
    ways = found.rows.get("elsewhere", {}).get("ways", {})
    there, here = ways.get("there"), ways.get("here")
    reads = statistics.median(each["total_reads_processed"] for each in there) if there else None
    yield Check("reads of Redis for each call", reads, 4, "", at_least=False)
    medians = [statistics.median(each["single_p50"] for each in way) for way in (there, here) if way]
    added = medians[0] - medians[1] if len(medians) == 2 else None
    yield Check("p50 added alone", added, 1, "ms", at_least=False)


def _refusals(found: Found) -> Iterator[Check]:
    for name in ("401, a guessed token", "401, no token", "404, an unknown session", "429, over the limit"):
        yield Check(name, found.get("refusals", name, "rate"), 15_000, "/s")


def _idle(found: Found) -> Iterator[Check]:
    idle = found.rows.get("idle", {}).get("idle", {})
    for name in ("session's stream", "listen stream"):
        got = idle.get(f"{OURS}, {name}")
        yield Check(name, got["bytes_each"] / KIB if got else None, 20, "KiB", at_least=False)
        yield Check("open on one worker", got["alive"] if got else None, 15_000, "")
    sessions = idle.get("sessions")
    yield Check("session without one, worker", sessions["worker_bytes"] if sessions else None, 512, "B", at_least=False)
    yield Check("…, Redis", sessions["redis_bytes"] if sessions else None, 2048, "B", at_least=False)


def _starts(found: Found) -> Iterator[Check]:
    starts = found.rows.get("starts", {}).get("starts", {})
    for name, what, limit in (
        (OURS, "start to first answer", 1.2),
        ("switchboard --version", "`switchboard --version`", 0.25),
    ):
        yield Check(what, statistics.median(starts[name]) if starts.get(name) else None, limit, "s", at_least=False)


def _workers(found: Found) -> Iterator[Check]:
    row = found.rows.get("workers", {})
    rates = [statistics.median(each["rate"] for each in row["workers"][count]) for count in "12"] if row else []
    apart = "" if row.get("apart") else " (all on cores that the load has, too: no verdict)"
    yield Check(f"two workers{apart}", rates[1] / rates[0] if rates and rates[0] else None, 1.9 if not apart else 0)


def _soak(found: Found) -> Iterator[Check]:
    looks = found.rows.get("soak", {}).get("looks", ())
    settled = looks[len(looks) // 6 :]
    if not settled:
        yield Check("memory, p99", None, 0)
        return
    seconds = sum(each["seconds"] for each in looks)
    memory = [each["memory"] for each in settled]
    change = max(abs(each / memory[0] - 1) for each in memory) * 100
    yield Check(f"memory within {seconds / 60:.0f} min, changed by", change, 5, "%", at_least=False)
    first, last = found.rows["soak"]["rest"]
    for name in first:
        yield Check(f"{name} more at the end", max(0, last[name] - first[name]), 2, "", at_least=False)
    spread = statistics.median(each["p99"] / each["p50"] for each in settled if each["p50"])
    yield Check("p99 of p50", spread, 5, at_least=False)
    yield Check("wrong answers", sum(each["wrong"] for each in looks), 0, "", at_least=False)


GOALS: Final = (
    Goal("modern `tools/call`, plain tool", _modern),
    Goal("modern `tools/call`, a tool with a context that reports progress", _context),
    Goal("handshake `tools/call`, any worker, token and session asked of Redis", _handshake),
    Goal("a page of `tools/list`", _lists),
    Goal("hop to an HTTP backend", _http),
    Goal("hop to one shared stdio backend", _stdio),
    Goal("call handed to another worker's child", _elsewhere),
    Goal("refusals", _refusals),
    Goal("idle streams and sessions", _idle),
    Goal("starting", _starts),
    Goal("`--workers 2` beside `--workers 1`", _workers),
    Goal("full load for long", _soak),
)
