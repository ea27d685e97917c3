"""The suite itself: a Node program, started for each run with a folder for what it finds."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.conformance.results import Outcome, read
from tools.conformance.runs import Run

EXPECTED_FAILURES = Path(__file__).with_name("expected-failures.yml")
PER_SCENARIO_S = 30
LIMIT_S = 300
"""Seconds that one start of the suite may take."""

AT_ONCE = 4
"""How many starts run at the same time, where scenarios run one by one."""

_HEADING = re.compile(r"^(\w+) scenarios \(.*\):$")
_SCENARIO = re.compile(r"^ +- (\S+)(?: +\[(.*)\])?$")


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    installed: Path
    """Where npm put it."""

    def for_issuers(self, run: Run) -> tuple[str, ...]:
        """The scenarios for authorization servers that the suite lists for a run."""
        found = map(_SCENARIO.match, self._node("list", "--authorization", *run.listed_by).stdout.splitlines())
        return tuple(scenario[1] for scenario in found if scenario)

    def listed(self, run: Run) -> tuple[str, ...]:
        """The scenarios that the suite lists for a run."""
        names = _of_servers(self._node("list", "--server", *run.listed_by).stdout.splitlines())
        return tuple(name for name in names if name.startswith(run.named) and not (run.without and run.without in name))

    def run(self, run: Run, names: Sequence[str], url: str, out: Path) -> Outcome:
        """Run the scenarios against the server at `url`; what was found stays in `out`."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        started = time.monotonic()
        starts: Iterable[tuple[str, ...]] = [("--scenario", name) for name in names] if run.one_by_one else [()]
        with ThreadPoolExecutor(AT_ONCE) as started_at_once:
            codes = list(started_at_once.map(lambda which: self._start(run, url, out, which), starts))
        return read(out, names, complaints=sum(map(bool, codes)), seconds=time.monotonic() - started)

    def _start(self, run: Run, url: str, out: Path, which: Sequence[str]) -> int:
        limits = ("--timeout", str(PER_SCENARIO_S * 1000), "--expected-failures", str(EXPECTED_FAILURES))
        done = self._node("server", "--url", url, *run.arguments, *which, *limits, "-o", str(out))
        with (out / "suite.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done.returncode

    def command(self, *arguments: str) -> list[str]:
        """What starts the suite."""
        modules = self.installed / "node_modules"
        program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
        return [str(modules / ".bin" / "node"), str(program), *arguments]

    def _node(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def _of_servers(listing: Iterable[str]) -> Iterator[str]:
    """The scenarios for servers. A requirement set lists those for clients too, and marks what it does not score."""
    section = "Server"
    for line in listing:
        if heading := _HEADING.match(line):
            section = heading[1]
        elif line.startswith("Run and reported"):
            section = "Unscored"
        elif (scenario := _SCENARIO.match(line)) and (section == "Server" or scenario[2] == "server"):
            yield scenario[1]


def nothing_is_expected_to_fail() -> bool:
    """Whether the list of expected failures is empty."""
    lines = EXPECTED_FAILURES.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")] == ["server: []"]
