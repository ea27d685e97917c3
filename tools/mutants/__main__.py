"""Try a sample of faults in one room, and tell which of them no test noticed."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tools.mutants.faults import Fault, faults
from tools.mutants.seen import Seen

SOURCES: Final = {"auth_server": "auth_server"}
"""Rooms that are no folder of the product."""

TESTS: Final = {"auth_server": ["tests/auth", "tests/sso"], "http": ["tests/http", "tests/sessions"]}
"""Rooms whose tests are not, or not only, in the folder of their name."""

START_S: Final = 30.0
"""What a run of tests may take besides three times their own time."""

Verdict = Literal["noticed", "noticed late", "survived", "nobody runs it"]
"""`noticed late`: the tests took so long that they were ended. A loop that never ends looks so, and a busy machine."""


def main() -> int:
    """Exits 1 when fewer than `--bar` percent were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("room", help="http, sessions, sessions/parking, backends, tasks, auth_server, …")
    parser.add_argument("--sample", type=int, default=20, help="how many faults to try")
    parser.add_argument("--seed", type=int, default=None, help="for the same sample again")
    parser.add_argument("--bar", type=float, default=90)
    parser.add_argument("--seconds", type=float, default=60, help="how much time of tests to spend on one fault")
    parser.add_argument("--only", default="", help="only modules whose path contains this")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="files and folders to run instead of the room's own")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    source = Path(SOURCES.get(given.room, f"src/switchboard/{given.room}"))
    modules = sorted(source.rglob("*.py"))
    tests = _test_files(given.tests or TESTS.get(given.room, [f"tests/{given.room}"]))
    if not modules or not tests:
        parser.error(f"no room {given.room}: {source} or its tests are not there")
    if subprocess.run(["git", "diff", "--quiet", "--", str(source)], check=False).returncode:
        parser.error(f"{source} has changes that are not committed, and would be lost if this were killed")
    seen = Seen(given.room, modules, tests)
    seen.measure()
    every = [(path, fault) for path in modules if given.only in str(path) for fault in faults(path.read_text())]
    seed = given.seed if given.seed is not None else random.randrange(10_000)
    sample = random.Random(seed).sample(every, min(given.sample, len(every)))
    print(f"{len(sample)} of {len(every)} faults in {source}, seed {seed}", flush=True)
    verdicts = [
        _tried(seen, path, fault, given.seconds) for path, fault in sorted(sample, key=lambda each: str(each[0]))
    ]
    count = verdicts.count("noticed") + verdicts.count("noticed late")
    noticed = 100 * count / max(len(verdicts), 1)
    print(f"{count} of {len(verdicts)} noticed: {noticed:.0f} %")
    return int(noticed < float(given.bar))


def _test_files(places: list[str]) -> list[Path]:
    given = [Path(place) for place in places]
    files = {path for place in given for path in ([place] if place.is_file() else place.rglob("test_*.py"))}
    return sorted(path for path in files if "node_modules" not in path.parts)


def _tried(seen: Seen, path: Path, fault: Fault, most_s: float) -> Verdict:
    tests, left_out = seen.tests_of(path, fault.line, most_s)
    with _changed(path, fault):
        verdict: Verdict = "nobody runs it" if not tests else _run(tests, sum(map(seen.seconds, tests)))
    was = " ".join(path.read_text()[fault.start : fault.end].split())
    more = f" ({left_out} slower tests were left out)" if verdict == "survived" and left_out else ""
    print(f"{verdict:14} {path}:{fault.line} {fault.kind}: {was} → {fault.text.strip()}{more}", flush=True)
    return verdict


@contextmanager
def _changed(path: Path, fault: Fault) -> Iterator[None]:
    source = path.read_text()
    try:
        path.write_text(fault.applied(source))
        yield
    finally:
        path.write_text(source)


def _run(tests: list[str], seconds: float) -> Verdict:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(tests))
        listed.flush()
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"@{listed.name}"]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        running = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return "noticed" if running.wait(START_S + 3 * seconds) else "survived"
        except subprocess.TimeoutExpired:
            return "noticed late"
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


if __name__ == "__main__":
    sys.exit(main())
