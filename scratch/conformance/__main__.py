"""`python -m conformance`: two workers, Redis, a balancer that takes strict turns, and the official suite."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleet.children import free_port, listens, start
from fleet.workers import Fleet, running_fleet

from conformance.front import PINNED
from conformance.report import Line, proof, table
from conformance.runs import RUNS, Run
from conformance.suite import Suite, nothing_is_expected_to_fail
from conformance.turns import settled

CACHE = Path(".cache/conformance")
WORKERS = 2
MODES = {"off": "none", "on": "integrated"}
PLUGINS = {"plugins": {"conformance": {"enabled": True}, "everything": {"enabled": False}}}


def main() -> None:
    """Run what was asked for, print the table, and end with 1 if anything failed or warned."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--suite", type=Path, default=CACHE, help="where npm installed the suite")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--authorization", choices=[*MODES, "both"], default="both")
    chosen = parser.parse_args()
    modes = list(MODES) if chosen.authorization == "both" else [chosen.authorization]
    runs = [run for run in RUNS if chosen.only in run.name]
    suite = Suite(chosen.suite.resolve())
    lines = [line for mode in modes for line in _in_mode(mode, suite, runs)]
    print(f"\n{table(lines)}\n")
    faults = [
        f"{line.run.name}, authorization {line.authorization}: {fault}" for line in lines for fault in line.faults
    ]
    if not nothing_is_expected_to_fail():
        faults.append("the list of expected failures is not empty")
    print("\n".join(faults) or "No failure and no warning; no failure was expected.")
    sys.exit(bool(faults))


def _in_mode(mode: str, suite: Suite, runs: Sequence[Run]) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="switchboard-") as name:
        folder = Path(name)
        configuration = folder / "conformance.json"
        configuration.write_text(json.dumps(PLUGINS))
        env = {"AUTH_MODE": MODES[mode], "CONFIG_FILE": str(configuration)}
        with running_fleet(folder, workers=WORKERS, env=env) as fleet:
            token = fleet.token() if mode == "on" else None
            lines = [_line(run, mode, suite, fleet, token) for run in runs]
        print(proof(lines[-1]), flush=True)
        yield from lines


def _line(run: Run, mode: str, suite: Suite, fleet: Fleet, token: str | None) -> Line:
    names = suite.listed(run)
    with _front(fleet, run.wire, token) as (url, log):
        out = CACHE / "out" / f"{run.name.replace(' ', '-')}-{mode}"
        outcome = suite.run(run, names, url, out.resolve())
        pinned = log is not None and PINNED in log.read_text()
    turns = settled(fleet.balancer, WORKERS)
    faults = list(outcome.faults)
    if len(names) != run.scenarios:
        faults.append(f"the suite lists {len(names)} scenarios, not {run.scenarios}")
    if run.wire is not None and not pinned:
        faults.append(f"no handshake asked for {run.wire}")
    if not turns.alternated(WORKERS):
        faults.append(f"requests did not take turns: {dict(turns.served)}")
    line = Line(run, mode, len(names), outcome, turns, tuple(faults))
    print(f"{'FAILED' if faults else 'ok    '} {line.title}", flush=True)
    return line


@contextmanager
def _front(fleet: Fleet, wire: str | None, token: str | None) -> Iterator[tuple[str, Path | None]]:
    """Where the suite connects: the balancer itself, or a front that edits what passes, and the front's log."""
    if wire is None and token is None:
        yield fleet.url, None
        return
    port, upstream = free_port(), fleet.base.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "conformance.front", str(port), upstream]
    env = {"PYTHONPATH": str(Path(__file__).parents[1]), "FRONT_WIRE": wire or "", "FRONT_TOKEN": token or ""}
    child = start(f"front-{port}", command, fleet.folder, {**os.environ, **env})
    try:
        child.wait_until(lambda: listens(port), timeout=10)
        yield f"http://localhost:{port}/mcp", child.log
    finally:
        child.stop()


if __name__ == "__main__":
    main()
