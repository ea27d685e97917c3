"""`python -m tools.conformance`: two workers, Redis, a balancer that takes strict turns, and the official suite."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.conformance import client, issuer
from tools.conformance.front import PINNED
from tools.conformance.issuer import Issuer
from tools.conformance.report import ReportLine, proof, table
from tools.conformance.results import Outcome
from tools.conformance.runs import RUNS, Run
from tools.conformance.suite import Suite, nothing_is_expected_to_fail
from tools.conformance.turns import settled
from tools.fleet.balancer import Balancer
from tools.fleet.children import free_port, listens, start
from tools.fleet.issuers import running_issuers
from tools.fleet.workers import Fleet, only, running_fleet

CACHE = Path(".cache/conformance")
WORKERS = 2
MODES = {"off": "none", "on": "integrated"}
FIXTURES = "tools.conformance.fixtures:plugin"


def main() -> None:
    """Run what was asked for, print the table, and end with 1 if anything failed or warned."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("--suite", type=Path, default=CACHE, help="where npm installed the suite")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--authorization", choices=[*MODES, "apart", "upstream", "both"], default="both")
    chosen = parser.parse_args()
    modes = [*MODES, "apart", "upstream"] if chosen.authorization == "both" else [chosen.authorization]
    runs = [run for run in RUNS if chosen.only in run.name]
    issuing = [run for run in issuer.runs() if chosen.only in run.name]
    suite = Suite(chosen.suite.resolve())
    lines = [line for mode in modes for line in _lines(mode, suite, runs, issuing, chosen.only)]
    print(f"\n{table(lines)}\n")
    faults = [
        f"{line.run.name}, authorization {line.authorization}: {fault}" for line in lines for fault in line.faults
    ]
    if not nothing_is_expected_to_fail():
        faults.append("the list of expected failures is not empty")
    print("\n".join(faults) or "No failure and no warning; no failure was expected.")
    sys.exit(bool(faults))


def _lines(mode: str, suite: Suite, runs: Sequence[Run], issuing: Sequence[Run], only: str) -> Iterator[ReportLine]:
    if mode == "upstream":
        yield from client.lines(suite, [run for run in client.runs() if only in run.name], CACHE.resolve() / "out")
        return
    if mode == "off":
        issuing = []
    if mode == "apart" and issuing:
        yield from _apart(suite, issuing)
    elif mode != "apart" and (runs or issuing):
        yield from _in_mode(mode, suite, runs, issuing)


def _in_mode(mode: str, suite: Suite, runs: Sequence[Run], issuing: Sequence[Run]) -> Iterator[ReportLine]:
    """The server's scenarios; and, where it issues tokens itself, those for authorization servers."""
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        env = only(folder, "conformance", FIXTURES) | {"AUTH_MODE": MODES[mode]}
        with running_fleet(folder, workers=WORKERS, env=env) as fleet:
            token = fleet.token() if mode == "on" else None
            lines = [_line(run, mode, suite, fleet, token) for run in runs]
            lines += [_issuing(run, mode, suite, Issuer(fleet.base, fleet.url), fleet.balancer) for run in issuing]
        yield from _proven(lines)


def _apart(suite: Suite, issuing: Sequence[Run]) -> Iterator[ReportLine]:
    """The scenarios for authorization servers, on two that stand alone."""
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name, running_issuers(Path(name)) as issuers:
        found = Issuer(issuers.url, f"{issuers.env['BASE_URI']}/mcp")
        lines = [_issuing(run, "apart", suite, found, issuers.balancer) for run in issuing]
    yield from _proven(lines)


def _proven(lines: Sequence[ReportLine]) -> Sequence[ReportLine]:
    print(proof(lines[-1]), flush=True)
    return lines


def _line(run: Run, mode: str, suite: Suite, fleet: Fleet, token: str | None) -> ReportLine:
    names = suite.listed(run)
    with _front(fleet, run.wire, token) as (url, log):
        outcome = suite.run(run, names, url, _out(run, mode))
        pinned = log is not None and PINNED in log.read_text()
    faults = () if run.wire is None or pinned else (f"no handshake asked for {run.wire}",)
    return _judged(run, mode, names, outcome, fleet.balancer, faults)


def _issuing(run: Run, mode: str, suite: Suite, found: Issuer, balancer: Balancer) -> ReportLine:
    names = suite.for_issuers(run)
    outcome = issuer.run(suite, run, names, found, _out(run, mode))
    return _judged(run, mode, names, outcome, balancer)


def _out(run: Run, mode: str) -> Path:
    return (CACHE / "out" / f"{run.name.replace(', ', '-').replace(' ', '-')}-{mode}").resolve()


def _judged(
    run: Run, mode: str, names: Sequence[str], outcome: Outcome, balancer: Balancer, faults: Sequence[str] = ()
) -> ReportLine:
    """The outcome with what makes it doubtful: other scenarios than expected, or a worker that was left out."""
    turns, found = settled(balancer, WORKERS), [*outcome.faults, *faults]
    if len(names) != run.scenarios:
        found.append(f"the suite lists {len(names)} scenarios, not {run.scenarios}")
    if outcome.skipped and run.name.startswith(issuer.NAMED):
        found.append(f"the suite skipped {', '.join(outcome.skipped)}")
    if not turns.alternated(WORKERS):
        found.append(f"requests did not take turns: {dict(turns.served)}")
    line = ReportLine(run, mode, len(names), outcome, turns, tuple(found))
    print(f"{'FAILED' if found else 'ok    '} {line.title}", flush=True)
    return line


@contextmanager
def _front(fleet: Fleet, wire: str | None, token: str | None) -> Iterator[tuple[str, Path | None]]:
    """Where the suite connects: the balancer itself, or a front that edits what passes, and the front's log."""
    if wire is None and token is None:
        yield fleet.url, None
        return
    port, upstream = free_port(), fleet.base.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "tools.conformance.front", str(port), upstream]
    env = {"FRONT_WIRE": wire or "", "FRONT_TOKEN": token or ""}
    child = start(f"front-{port}", command, fleet.folder, {**os.environ, **env})
    try:
        child.wait_until(lambda: listens(port), timeout=120)
        yield f"http://localhost:{port}/mcp", child.log
    finally:
        child.stop()


if __name__ == "__main__":
    main()
