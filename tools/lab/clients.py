"""Drives clients through all scenarios of the lab: `python -m tools.lab.clients [NAME…] [--only SCENARIO]`.

Serves that lab itself, and starts each client by `switchboard lab run`, as docs/lab.md tells a user to; `make lab`
installs the clients first. Writes results.json, of which `make reference` makes the tables of docs/lab.md; what the
clients printed and every request of theirs is left in .cache/lab to be read.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from switchboard.lab.scenarios import BY_NAME
from tools.fleet.children import free_port
from tools.fleet.redis_server import start_redis
from tools.fleet.workers import start_worker
from tools.lab.drivers import DRIVERS, Driver
from tools.lab.results import Result, merged, read, write

ROOT: Final = Path(__file__).parents[2]
LEFT: Final = ROOT / ".cache" / "lab"


def main() -> int:
    """Run the drivers that were named, or all."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRIVERS)}; all of them if none")
    given.add_argument("--only", action="append", metavar="SCENARIO", help="these alone; other results stay")
    asked = given.parse_args()
    for kind, unknown in (
        ("driver", set(asked.names) - set(DRIVERS)),
        ("scenario", set(asked.only or ()) - set(BY_NAME)),
    ):
        if unknown:
            given.error(f"no {kind} is called {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as base:
        for name in asked.names or DRIVERS:
            found = driven(base, DRIVERS[name], asked.only or ())
            write({**read(), name: merged(read().get(name), DRIVERS[name].version(), found)})
    return 0


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """A server with the lab, on a free port, with a Redis of its own: its address."""
    redis = start_redis(folder)
    port = free_port()
    base = f"http://localhost:{port}"
    settings = {"BASE_URI": base, "REDIS_URL": redis.url, "SECRET_KEY": secrets.token_urlsafe(32), "LAB": "on"}
    try:
        worker = start_worker(folder, port, {**settings, "RATE_LIMIT": "0"})
        yield base
        worker.stop()
    finally:
        if redis.child:
            redis.child.stop()


def driven(base: str, driver: Driver, only: Sequence[str]) -> Sequence[Result]:
    """What became of each scenario in one run of a client; its requests, and what it wrote, are left to be read."""
    left = LEFT / driver.name
    left.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "switchboard", "lab", "run", "--url", base, "--json"]
    command += ["--timeout", str(driver.limit_s), "--jobs", str(driver.at_once)]
    command += [part for name in only for part in ("--scenario", name)]
    ran = subprocess.run([*command, "--", *driver.command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    report = json.loads(ran.stdout)
    with urllib.request.urlopen(f"{base}/lab/api/runs/{report['run']}", timeout=60) as answer:
        (left / "run.json").write_text(json.dumps(json.load(answer), indent=1))
    for row in report["scenarios"]:
        (left / f"{row['name']}.log").write_text(row["client"]["output"])
    return [_result(row) for row in report["scenarios"]]


def _result(row: Mapping[str, Any]) -> Result:
    """One row: the rule that was broken first, and the hop that shows it."""
    broken = next((each for each in row["rules"] if each["state"] == "broken"), None) or {}
    said = (broken.get("rule", ""), broken.get("hop"), broken.get("why", ""))
    ended = row["client"]
    return Result(row["name"], row["verdict"], *said, exit=None if ended["timed_out"] else ended["exit"])


if __name__ == "__main__":
    sys.exit(main())
