"""The suite's scenarios for clients, on the gateway's own upstream client: `upstream` is what the suite starts.

Those for authorization are left out: the gateway does not sign in at its backends yet.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.conformance.report import ReportLine
from tools.conformance.results import Outcome, read
from tools.conformance.runs import Run
from tools.conformance.suite import LIMIT_S, Suite
from tools.conformance.turns import Turns

NAMED = "the gateway as a client"
COMMAND = f"{sys.executable} -m tools.conformance.upstream"
PER_SCENARIO_MS = 90_000
AT_ONCE = 2
SCENARIOS = {"2025-06-18": 2, "2025-11-25": 5, "2026-07-28": 8}
"""How many there must be; 2025-03-26 has none but those for authorization."""

_SCENARIO = re.compile(r"^ +- (\S+)(?: +\[.*\])?$")


def runs() -> tuple[Run, ...]:
    """A row for each protocol version."""
    return tuple(
        Run(f"{NAMED}, {version}", count, ("--spec-version", version), ("--spec-version", version))
        for version, count in SCENARIOS.items()
    )


def lines(suite: Suite, chosen: Sequence[Run], out: Path) -> Iterator[ReportLine]:
    """Run what was chosen."""
    for run in chosen:
        names, folder = _listed(suite, run), out / run.name.replace(", ", "-").replace(" ", "-")
        outcome = _run(suite, run, names, folder)
        faults = list(outcome.faults)
        if len(names) != run.scenarios:
            faults.append(f"the suite lists {len(names)} scenarios, not {run.scenarios}")
        line = ReportLine(run, "none", len(names), outcome, Turns(Counter(), 0.0), tuple(faults))
        print(f"{'FAILED' if faults else 'ok    '} {line.title}", flush=True)
        yield line


def _listed(suite: Suite, run: Run) -> tuple[str, ...]:
    done = subprocess.run(
        suite.command("list", "--client", *run.listed_by), capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    found = map(_SCENARIO.match, done.stdout.splitlines())
    return tuple(one[1] for one in found if one and not one[1].startswith("auth/"))


def _run(suite: Suite, run: Run, names: Sequence[str], out: Path) -> Outcome:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as at_once:
        codes = list(at_once.map(lambda name: _scenario(suite, run, name, out), names))
    return read(out, names, complaints=sum(map(bool, codes)), seconds=time.monotonic() - started)


def _scenario(suite: Suite, run: Run, name: str, out: Path) -> int:
    limits = ("--timeout", str(PER_SCENARIO_MS), "-o", str(out))
    command = suite.command("client", "--command", COMMAND, "--scenario", name, *run.arguments, *limits)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    with (out / "suite.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    return done.returncode
