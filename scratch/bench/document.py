"""Writes docs/performance.md and its plots from what was measured; it measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scratch.bench import results, svg
from scratch.bench.found import DASH, GOALS, OURS, TIMES, Found, Goal, number
from scratch.bench.install import ROOT
from scratch.bench.rows import ROWS

DOCS: Final = ROOT / "docs"
HEAD: Final = """\
# Speed, beside the servers and gateways of others

Written by `make bench`; edit scratch/bench instead. docs/limits.md goes on from here to larger fleets.

## Measure it yourself

```console
$ make bench                                             # all, 25 minutes at most, after installing the peers once
$ make bench ARGS=--quick                                # shorter, 6 minutes at most
$ make bench ARGS="--rows modern,handshake --seconds 3"  # some rows; what was found of others is kept
$ make bench ARGS="--rows soak --soak-seconds 600"       # ten minutes at full load
$ make bench ARGS="--peers none"                         # without what has to be installed
```

Every peer is installed in the version of scratch/bench/peers.toml into an environment of its own below `.cache/bench`.
One that cannot be had or started is reported with its reason. A quiet machine matters: the server has one core, and the
load, Redis and what stands behind gateways have the others.
"""
BUSY: Final = 4.0
"""A load of the machine before a row, from which on the document says that its figures are doubtful."""

WARNING: Final = """
**The machine was busy with other work** (load {load:g} on {cores} cores): rates and times are far below what it can do,
and goals that are absolute say nothing. What is counted for each second of CPU, and bytes and reads, hold better."""

OUT_OF_REACH: Final = Path(__file__).with_name("out_of_reach.md").read_text()
"""Why goals are missed: from profiles, by hand."""

HOW: Final = """\
## How it is measured

* **Ours has everything on**: authorization by its own server with a token for each of 32 users, a JSON log line for
  each request into a file, rate limits, Redis asked about token and session on every call. The SDK's server and all
  peers run bare: no authorization, no log, sessions in memory.
* The contestants of a row take turns, several rounds of them, forwards and backwards; what stands here are medians.
  While one is measured, the processes of the others are stopped.
* The load is a process of its own (scratch/bench/load.py): 32 keep-alive connections, on each the next request once the
  answer is there, then the same with one connection ("alone"). It sends 40,000 requests a second where the server can
  take them; a row in which it used more than nine tenths of its core is marked.
* Every answer is looked at: its status, and that it holds the text that this very request sent. A row with a wrong
  answer has no figure.
* *per CPU s* are answers for each second of CPU of the server and all its processes (a child behind a gateway apart):
  the figure that a busy machine changes least.
* A closed loop like this one flatters p99.
"""


def write() -> None:
    """All of it."""
    everything = results.read()
    found = Found(everything["rows"])
    parts = [HEAD, *_where(everything), *_goals(found), *_better(found), OUT_OF_REACH, HOW, *_plots(found)]
    for name in ROWS:
        parts += _row(found, name)
    parts += _specials(found)
    (DOCS / "performance.md").write_text("\n".join(parts))
    print(f"written: {DOCS / 'performance.md'}", flush=True)


def _where(everything: Mapping[str, Any]) -> Iterator[str]:
    machine, rows = everything["machine"], everything["rows"]
    if not machine:
        yield "Nothing has been measured yet.\n"
        return
    yield "## Where\n"
    where = f"the server on {machine['server_cores']}, all else on {machine['load_cores']}"
    yield f"{machine['cores']} cores ({machine['cpu']}), {where};"
    yield f"{machine['memory'] / 2**30:.0f} GiB; {machine['system']}."
    yield (
        " ".join(("Versions:", ", ".join(f"{name} {v}".strip() for name, v in everything["versions"].items()))) + ".\n"
    )
    yield "| row | commit | measured at (UTC) | load of the machine before | rounds of seconds |"
    yield "|---|---|---|---|---|"
    for same in _runs(rows):
        row = rows[same[0]]
        pace = f"{row['pace']['rounds']} of {row['pace']['seconds']:g}"
        yield f"| {', '.join(same)} | {row['commit']} | {row['when']} | {row['load']} | {pace} |"
    busiest = max(row["load"] for row in rows.values())
    if busiest > BUSY:
        yield WARNING.format(load=busiest, cores=machine["cores"])
    yield ""


def _runs(rows: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Rows of one commit and pace, together."""
    by_run: dict[tuple[str, str], list[str]] = {}
    for name, row in rows.items():
        by_run.setdefault((row["commit"], str(row["pace"])), []).append(name)
    yield from by_run.values()


def _goals(found: Found) -> Iterator[str]:
    yield "## Goals\n"
    yield "Without a unit, a figure is how many times theirs ours is; in brackets, what it is to be.\n"
    yield "| work | found (goal) | verdict |"
    yield "|---|---|---|"
    for goal in GOALS:
        yield from _goal(found, goal)
    yield ""


def _goal(found: Found, goal: Goal) -> Iterator[str]:
    for position, check in enumerate(goal.checks(found)):
        verdict = DASH if check.limit == 0 and check.at_least else check.verdict
        yield f"| {goal.work if position == 0 else ''} | {check} | {verdict} |"


def _better(found: Found) -> Iterator[str]:
    yield "## What others do better\n"
    lines = [*_others_ahead(found)]
    yield from lines or ["Nothing in these rows."]
    yield ""


_KEYS: Final = {
    "rate": ("answers more", "/s", True),
    "single_p50": ("is faster for one client alone", " ms", False),
    "memory": ("needs less memory", " MB", False),
}


def _others_ahead(found: Found) -> Iterator[str]:
    for row, spec in ROWS.items():
        mine = [name for name in found.names(row) if name.startswith(OURS)]
        for key, (what, unit, larger) in _KEYS.items():
            own = [value for name in mine if (value := found.get(row, name, key)) is not None]
            if not own:
                continue
            best = max(own) if larger else min(own)
            scale = 1e-6 if key == "memory" else 1
            ahead = [
                f"{name} ({number(value * scale)}{unit})"
                for name in found.names(row)
                if name not in mine and "itself" not in name and (value := found.get(row, name, key)) is not None
                if (value > best if larger else value < best)
            ]
            if ahead:
                yield f"* {spec.title}: {what} than ours ({number(best * scale)}{unit}): {', '.join(ahead)}."
    starts = found.rows.get("starts", {}).get("starts", {})
    if own_start := starts.get(OURS):
        mine_s = statistics.median(own_start)
        for name, seconds in starts.items():
            if not name.lower().startswith(OURS.lower()) and statistics.median(seconds) < mine_s:
                yield f"* starting: {name} takes {statistics.median(seconds):.2f} s, ours {mine_s:.2f} s."


def _plots(found: Found) -> Iterator[str]:
    calls = ("modern", "context", "progress", "handshake", "list-modern", "list-handshake")
    hops = ("http-modern", "http-handshake", "stdio", "stdio-small")
    plots = (
        ("performance-calls", "Answers a second, 32 clients, one core", calls, "rate", "", False),
        ("performance-hops", "Answers a second through a gateway, 32 clients, one core", hops, "rate", "", True),
        ("performance-alone", "Median for one client alone", (*calls, *hops), "single_p50", "ms", True),
        ("performance-refusals", "Refusals a second, 32 clients, one core", ("refusals",), "rate", "", False),
    )
    yield "## In pictures\n"
    for file, title, rows, key, unit, log in plots:
        groups = {
            ROWS[row].title.replace("`", ""): [
                (name, value) for name in found.names(row) if (value := found.get(row, name, key)) is not None
            ]
            for row in rows
        }
        groups = {name: group for name, group in groups.items() if group}
        if groups:
            (DOCS / f"{file}.svg").write_text(svg.bars(title, groups, unit, log=log))
            yield f"![{title}]({file}.svg)\n"


def _row(found: Found, name: str) -> Iterator[str]:
    if name not in found.rows:
        return
    yield f"## {ROWS[name].title[0].upper()}{ROWS[name].title[1:]}\n"
    yield "| who | answers/s | per CPU s | p50 / p99 ms | p50 ms alone | MB | ours is | ours, per CPU s, is |"
    yield "|---|---|---|---|---|---|---|---|"
    first = next((each for each in found.names(name) if each.startswith(OURS)), None)
    for who in sorted(found.names(name), key=lambda each: -(found.get(name, each, "rate") or 0)):
        if wrong := found.wrong(name, who):
            example = next(each["example"] for each in found.rounds(name, who) if each.get("example"))
            yield f"| {who} | no figure: {wrong} wrong answers, such as `{_cell(example[-120:])}` | | | | | | |"
            continue
        peer = first if first and not who.startswith(OURS) and "itself" not in who else None
        ratios = [found.ratio(name, peer, who, key) if peer else None for key in ("rate", "per_cpu")]
        limited = " (load)" if (found.get(name, who, "busy") or 0) > 0.9 else ""
        cells = (
            _number(found.get(name, who, "rate")) + limited,
            _number(found.get(name, who, "per_cpu")),
            f"{_number(found.get(name, who, 'p50'))} / {_number(found.get(name, who, 'p99'))}",
            _number(found.get(name, who, "single_p50")),
            _number((found.get(name, who, "memory") or 0) / 1e6 or None),
            *(f"{number(ratio)} {TIMES}" if ratio else "" for ratio in ratios),
        )
        yield f"| {who} | {' | '.join(cells)} |"
    for who, why in found.rows[name].get("missing", {}).items():
        yield f"| {who} | not measured: {_cell(why)} | | | | | | |"
    yield ""


def _number(value: float | None) -> str:
    return "" if value is None else number(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("`", "'").split())


def _specials(found: Found) -> Iterator[str]:
    yield from _starts(found)
    yield from _idle(found)
    yield from _soak(found)


def _starts(found: Found) -> Iterator[str]:
    row = found.rows.get("starts")
    if row is None:
        return
    yield "## From the start of the process to the first right answer\n"
    yield "| who | seconds, median | least |"
    yield "|---|---|---|"
    for name, seconds in row["starts"].items():
        yield f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} |"
    yield ""


def _idle(found: Found) -> Iterator[str]:
    row = found.rows.get("idle")
    if row is None:
        return
    yield "## Idle streams\n"
    yield "| what | open at the end | KiB each | opened in s |"
    yield "|---|---|---|---|"
    for name, got in row["idle"].items():
        if name != "sessions":
            cells = (
                f"{got['alive']:,} of {got['streams']:,}",
                f"{got['bytes_each'] / 1024:.1f}",
                f"{got['seconds']:.0f}",
            )
            yield f"| {name} | {' | '.join(cells)} |"
    for name, why in row.get("missing", {}).items():
        yield f"| {name} | not measured: {_cell(why)} | | |"
    yield ""


def _soak(found: Found) -> Iterator[str]:
    looks = found.rows.get("soak", {}).get("looks")
    if not looks:
        return
    minutes = sum(look["seconds"] for look in looks) / 60
    yield f"## {minutes:.0f} minutes at full load\n" if minutes >= 1 else "## A short time at full load\n"
    yield "16 clients of each era; a line is a twelfth of the time.\n"
    yield "| answers/s | per CPU s | p50 / p99 ms | MB | descriptors | wrong |"
    yield "|---|---|---|---|---|---|"
    for look in looks:
        cells = (number(look["rate"]), number(look["per_cpu"]), f"{look['p50']:.1f} / {look['p99']:.1f}")
        yield f"| {' | '.join(cells)} | {look['memory'] / 1e6:.0f} | {look['descriptors']} | {look['wrong']} |"
    yield ""
