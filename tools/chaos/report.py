"""The report, and the promises that it is held against."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from tools.chaos.account import Account

PROMISED_S = 20.0
"""No client waits longer than this without a sign, whatever died."""

SHOWN = 8


@dataclass(frozen=True)
class Promise:
    """Something that must hold, and whether it did."""

    what: str
    kept: bool
    evidence: list[str]


def promises(sums: Account, outage: float, silence: float = PROMISED_S) -> list[Promise]:
    """The table of promises; `outage` is how long the faults themselves silenced everything."""
    limit = silence + outage + sums.lag
    return [
        Promise("no handshake session is lost", not sums.sessions_lost and sums.sessions > 0, sums.sessions_lost),
        Promise("no event is lost", not sums.events_lost, sums.events_lost),
        Promise("no event comes twice", not sums.events_twice, sums.events_twice),
        Promise("no call is done twice", not sums.done_twice, sums.done_twice),
        Promise("what was answered was done", not sums.answered_undone, sums.answered_undone),
        Promise(
            "no call fails that was not in flight where a fault struck",
            not sums.unexplained,
            sums.unexplained,
        ),
        Promise(f"no silence over {limit:.1f} s", sums.longest <= limit, [f"{sums.longest:.1f} s"]),
    ]


def lines(sums: Account, held: list[Promise]) -> list[str]:
    """The report as text."""
    available = 100 * sums.answered / max(sums.calls, 1)
    out = [
        f"calls             {sums.calls:,} made, {sums.answered:,} answered: availability {available:.3f} %",
        f"  failed          {sums.calls - sums.answered}, of which done at the server {sums.done_but_failed}",
    ]
    out += [f"    {count:5}  {how}   ({cause or 'NO FAULT EXPLAINS IT'})" for (how, cause), count in _most(sums.failed)]
    out += [f"  the balancer    {count} times: {what}" for what, count in sums.balancer.most_common(SHOWN)]
    out += [
        f"sessions          {sums.sessions} kept, {len(sums.sessions_lost)} lost",
        f"events            {sums.events:,} received, {len(sums.events_lost)} lost, {len(sums.events_twice)} twice",
        f"streams           {sums.reopened} opened again, {sums.resumed} calls resumed",
        f"longest silence   {sums.longest:.2f} s",
    ]
    out += [f"    {_spread(values)}  {what}" for what, values in sorted(sums.silences.items()) if values]
    out += [f"client lag        {sums.lag:.2f} s at worst", f"machine           {machine()}"]
    for promise in held:
        out.append(f"  {'kept' if promise.kept else 'BROKEN':6}  {promise.what}")
        if not promise.kept:
            out += [f"            {each}" for each in promise.evidence[:SHOWN]]
    return out


def machine() -> str:
    """What this ran on, and how busy that was."""
    cpu = next((line.split(":")[1].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")), "")
    total = next((int(line.split()[1]) for line in _read("/proc/meminfo") if line.startswith("MemTotal")), 0)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{os.cpu_count()} processors {cpu or platform.machine()}, {total / 1024**2:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, load {load}"
    )


def _most(counted: dict[tuple[str, str], int]) -> list[tuple[tuple[str, str], int]]:
    return sorted(counted.items(), key=lambda row: -row[1])


def _spread(values: list[float]) -> str:
    ordered = sorted(values)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"median {middle:6.2f}   99 % {high:6.2f}   worst {ordered[-1]:6.2f} s  {len(ordered):7,} times"


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
