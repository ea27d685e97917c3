"""Writes docs/limits.md: the arithmetic of larger fleets, from what `simulate` and the row of idle streams found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from scratch.bench import results, svg
from scratch.bench.found import number
from scratch.bench.install import ROOT

DOCS: Final = ROOT / "docs"
GIB: Final = 2**30
SAFE: Final = 0.6
"""The share of a core of Redis that is planned with: beyond it, waiting grows faster than work."""

LINEAR: Final = 0.95
"""A level is linear when this share of what was offered was carried."""

HEAD: Final = """\
# How far it goes

Written by `make bench ARGS="--rows limits,idle"`; edit scratch/bench/scale instead. What a worker does on one core is
in [performance.md](performance.md). Workers share nothing but Redis, so a fleet grows by adding workers until Redis is
full, and further by a Redis Cluster. This page says what a call asks of Redis, what one Redis bears, and what follows.

"""
KINDS: Final = """\
## What a call asks of Redis

From `INFO` before and after, 32 clients on one worker, divided by the calls; what happens when nobody calls is taken
off. A *read* is once that Redis reads from a connection: commands of one turn of the worker's loop come in one. *CPU*
is that of Redis, all of it.

| call | commands | reads | bytes in / out | CPU µs | calls/s of a full Redis core | which commands |
|---|---|---|---|---|---|---|"""
BATCHES: Final = """\
## A command is cheap, a read is not

What the worker had sent for handshake calls, sent again by 16 connections as fast as it is answered, with more and more
commands in a write:

| commands in a write | commands/s | CPU µs of Redis for each | Redis busy | p50 ms |
|---|---|---|---|---|"""
SPLIT: Final = """
So a command costs about {command:.1f} µs and a read about {read:.1f} µs (the line through these points). The busier a
worker, the more commands are in a write, and the cheaper each call is for Redis: an idle fleet pays a read for each
call, a full one shares it.
"""
FLEET: Final = """\
## Workers for each Redis, and a Cluster

A core of Redis at {safe:.0%}, and workers that have a core each and are full (their CPU for a call was measured, too).
On a Cluster the commands of a turn go to the masters that have their keys, so a write has fewer: with N masters, each
gets 1/N of the commands, and at worst as many reads as before.

| call | calls/s of a worker | calls/s of one Redis | workers | Cluster of 3 | of 6 | of 12 |
|---|---|---|---|---|---|---|"""
FORMULA: Final = """
The formula, for N masters: calls/s = N * share of a core / (commands * command + min(commands, N * reads) * read +
rest), where *rest* is what a call costs beyond plain commands (scripts, streams, wake-ups), as measured.
"""
LEVELS: Final = """\
## Ten and a hundred times as many workers at one Redis

Each connection is a worker that serves {top:,} handshake calls a second: {commands_each} commands a call, {batch} in a
write, the very commands that were recorded. *Offered* is what that makes.

| workers | calls/s offered | carried | Redis busy | a full core, by CPU | p50 ms | p99 ms | sender busy |
|---|---|---|---|---|---|---|---|"""
FULL: Final = """\
Workers add what they can up to {last} of them; at {first} {why} ({redis:.0%} of a core in Redis, {sender:.0%} in the
sender). The most that was carried are {most} calls/s. Beyond that point more workers add waiting, and nothing else.
"""
STREAMS: Final = """
A worker holds as many idle streams as it has memory and descriptors (`ulimit -n`) for. A stream needs one of its
client's ports, too: more than some 28,000 from one address need several addresses.
"""
STOPS: Final = """\
## Where it stops

1. **A worker's core** comes first: the figures of performance.md. Add workers.
2. **The core of Redis** is next: the tables above. Redis executes commands in one thread; `io-threads` take reads and
   writes off it, which are the larger part of a call. Then a Cluster: tokens and sessions have slots of their own, so
   calls spread over the masters by themselves.
3. **The network of Redis**: {traffic:,.0f} bits for a handshake call are {gbit:,.0f} calls/s for each Gbit/s.
4. **Connections**: each worker has one for look-ups, one for wake-ups, and a pool of `REDIS_MAX_CONNECTIONS` for the
   rest; on a Cluster, the first two to each master. `maxclients` (10,000 by default) allows for some 150 workers with
   full pools, and for thousands whose pools are not used.
5. **One session** stays in one slot: a single client does not get faster by more masters. **A wake-up** of a sharded
   channel goes to one master; a change of the catalog goes to every worker, once.
"""


def write() -> None:
    """All of it."""
    everything = results.read()
    row = everything["rows"].get("limits")
    if row is None or "kinds" not in row:
        return
    idle = everything["rows"].get("idle", {}).get("idle", {})
    parts = [HEAD + f"Measured at {row['commit']}, {row['when']} UTC, load {row['load']} before.\n"]
    parts += [*_kinds(row), *_batches(row), *_fleet(row), *_levels(row), *_kept(row, idle), *_stops(row)]
    (DOCS / "limits.md").write_text("\n".join(parts))
    print(f"written: {DOCS / 'limits.md'}", flush=True)


def _measured(row: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {name: kind for name, kind in row["kinds"].items() if "missing" not in kind}


def _kinds(row: Mapping[str, Any]) -> Iterator[str]:
    yield KINDS
    for name, kind in row["kinds"].items():
        if "missing" in kind:
            yield f"| {name} | not measured: {kind['missing'][:80]} | | | | | |"
            continue
        commands = ", ".join(f"{each.upper()} {count:g}" for each, count in kind["by_command"].items())
        cells = (
            f"{kind['commands']:.1f}",
            f"{kind['reads']:.2f}",
            f"{kind['bytes_in']:.0f} / {kind['bytes_out']:.0f}",
            f"{kind['cpu'] * 1e6:.1f}",
            f"{1 / kind['cpu']:,.0f}" if kind["cpu"] else "",
        )
        yield f"| {name} | {' | '.join(cells)} | {commands} |"
    yield ""


def _batches(row: Mapping[str, Any]) -> Iterator[str]:
    yield BATCHES
    for each in row["sizes"]:
        cpu = f"{each['cpu_of_command'] * 1e6:.2f}"
        yield f"| {each['size']} | {each['commands']:,.0f} | {cpu} | {each['redis_busy']:.0%} | {each['p50']:.2f} |"
    command, read = split(row["sizes"])
    yield SPLIT.format(command=command * 1e6, read=read * 1e6)


def split(sizes: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Seconds of a command and of a read: the straight line of CPU for each command over 1/size."""
    points = [(1 / each["size"], each["cpu_of_command"]) for each in sizes if each["cpu_of_command"]]
    middle = [sum(point[axis] for point in points) / len(points) for axis in (0, 1)]
    over = sum((x - middle[0]) ** 2 for x, _ in points) or 1.0
    slope = sum((x - middle[0]) * (y - middle[1]) for x, y in points) / over
    return max(middle[1] - slope * middle[0], 0.0), max(slope, 0.0)


def _fleet(row: Mapping[str, Any]) -> Iterator[str]:
    kinds = _measured(row)
    if not kinds:
        return
    yield FLEET.format(safe=SAFE)
    command, read = split(row["sizes"])
    for name, kind in kinds.items():
        if not kind["cpu"] or not kind["worker_cpu"]:
            continue
        worker, one = 1 / kind["worker_cpu"], SAFE / kind["cpu"]
        cells = [f"{worker:,.0f}", f"{one:,.0f}", f"{one / worker:,.0f}"]
        cells += [f"{SAFE * shards / cpu_on(kind, command, read, shards):,.0f}" for shards in (3, 6, 12)]
        yield f"| {name} | {' | '.join(cells)} |"
    yield FORMULA


def cpu_on(kind: Mapping[str, float], command: float, read: float, shards: int) -> float:
    """Seconds of CPU of all masters together for a call."""
    rest = max(0.0, kind["cpu"] - kind["commands"] * command - kind["reads"] * read)
    reads = min(kind["commands"], shards * kind["reads"])
    return kind["commands"] * command + reads * read + rest


def _levels(row: Mapping[str, Any]) -> Iterator[str]:
    yield LEVELS.format(**row)
    offered: list[tuple[float, float]] = []
    carried: list[tuple[float, float]] = []
    for each in row["levels"]:
        asked, got = each["workers"] * row["top"], each["commands"] / row["commands_each"]
        offered.append((each["workers"], asked))
        carried.append((each["workers"], max(got, 1)))
        full = 1 / (each["cpu_of_command"] * row["commands_each"])
        cells = (f"{asked:,}", f"{got:,.0f}", f"{each['redis_busy']:.0%}", f"{full:,.0f}", *_times(each))
        yield f"| {each['workers']} | {' | '.join(cells)} | {each['busy']:.0%} |"
    curves = {"offered": offered, "carried": carried}
    (DOCS / "limits-workers.svg").write_text(svg.lines("One Redis, ever more workers", "workers", "calls/s", curves))
    yield "\n![One Redis, ever more workers](limits-workers.svg)\n"
    yield _linear(row)


def _times(level: Mapping[str, float]) -> tuple[str, str]:
    return f"{level['p50']:.2f}", f"{level['p99']:.2f}"


def _linear(row: Mapping[str, Any]) -> str:
    within = [
        each
        for each in row["levels"]
        if each["commands"] / row["commands_each"] >= LINEAR * each["workers"] * row["top"]
    ]
    beyond = [each for each in row["levels"] if each not in within]
    last = max((each["workers"] for each in within), default=0)
    if not beyond:
        return f"It is linear up to {last} workers, the most that were tried.\n"
    first = beyond[0]
    most_busy = max(first["redis_busy"], first["busy"])
    why = "the core of Redis is full" if first["redis_busy"] == most_busy else "the sender's core is full, not Redis"
    if most_busy < SAFE:
        why = "other work on this machine took the cores"
    most = max(each["commands"] / row["commands_each"] for each in row["levels"])
    return FULL.format(
        last=last, first=first["workers"], why=why, redis=first["redis_busy"], sender=first["busy"], most=number(most)
    )


def _kept(row: Mapping[str, Any], idle: Mapping[str, Any]) -> Iterator[str]:
    yield "## Memory\n"
    yield "| what | bytes | so many in a GiB |"
    yield "|---|---|---|"
    rows = [("a session, in Redis (all that `INFO memory` grew by)", row["kept"]["session"])]
    rows.append(("an open stream of a session, in Redis besides", row["kept"]["stream"]))
    if "sessions" in idle:
        rows.append(("the keys of a session, in Redis (`MEMORY USAGE`)", idle["sessions"]["redis_bytes"]))
        rows.append(("a session without a stream, in a worker", idle["sessions"]["worker_bytes"]))
    rows += [
        (f"an idle {name}, in a worker", idle[f"Switchboard, {name}"]["bytes_each"])
        for name in ("session's stream", "listen stream")
        if f"Switchboard, {name}" in idle
    ]
    for name, size in rows:
        many = f"{GIB / size:,.0f}" if size >= 1 else "any number"
        yield f"| {name} | {size:,.0f} | {many} |"
    yield STREAMS


def _stops(row: Mapping[str, Any]) -> Iterator[str]:
    kind = _measured(row).get("handshake `tools/call`")
    traffic = (kind["bytes_in"] + kind["bytes_out"]) * 8 if kind else 0.0
    yield STOPS.format(traffic=traffic, gbit=1e9 / traffic if traffic else 0)
