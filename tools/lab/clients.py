"""Drives clients through all scenarios of the lab: `python -m tools.lab.clients [NAME…] [--only SCENARIO]`.

Serves that lab itself; `make lab` installs the clients first. Writes results.json, of which `make reference` makes the
tables of docs/lab.md; what the clients printed and every request of theirs is left in .cache/lab to be read.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from switchboard.cli.lab.folders import environment, make_browser
from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.scenarios import SCENARIOS, Scenario
from switchboard.lab.tokens import GIVEN_SECRET
from tools.fleet.children import free_port
from tools.fleet.redis_server import start_redis
from tools.fleet.workers import start_worker
from tools.lab.drivers import DRIVERS, Driver
from tools.lab.results import Result, merged, read, write

ROOT: Final = Path(__file__).parents[2]
LEFT: Final = ROOT / ".cache" / "lab"
SHORT_S: Final = 120
"""A token that lives no longer than this is waited for to end."""

VERY_SHORT_S: Final = 10
"""And one that lives no longer than this, twice."""

ENDED: Final = 124
"""The exit code of a client that had to be ended, as timeout(1) has it: what it did until then counts."""

COMPANY: Final = "enterprise-managed"
GIVEN: Final = {
    "given-client": {"LAB_CLIENT_ID": GIVEN_CLIENT},
    COMPANY: {"LAB_CLIENT_ID": GIVEN_CLIENT, "LAB_CLIENT_SECRET": GIVEN_SECRET},
    "client-document": {"LAB_CLIENT_DOCUMENT": "https://client.example/document.json"},
}
"""What the tester tells a client in a scenario."""


def main() -> int:
    """Run the drivers that were named, or all."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRIVERS)}; all of them if none")
    given.add_argument("--only", action="append", metavar="SCENARIO", help="these alone; other results stay")
    asked = given.parse_args()
    if unknown := set(asked.names) - set(DRIVERS):
        given.error(f"no driver is called {', '.join(sorted(unknown))}; there are {', '.join(DRIVERS)}")
    scenarios = [each for each in SCENARIOS if not asked.only or each.name in asked.only]
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as base:
        for name in asked.names or DRIVERS:
            found = driven(base, DRIVERS[name], scenarios)
            for result in found:
                print(
                    f"{name:18} {result.scenario:24} {result.verdict:9} exit {result.exit}  {result.rule} {result.why}"
                )
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


def driven(base: str, driver: Driver, scenarios: Sequence[Scenario]) -> Sequence[Result]:
    """What became of each scenario in one run of a client."""
    left = LEFT / driver.name
    left.mkdir(parents=True, exist_ok=True)
    told = [each for each in scenarios if driver.company or each.name != COMPANY]
    begun = _json(f"{base}/lab/api/runs", {"auto": True})
    with ThreadPoolExecutor(driver.at_once) as together:
        exits = list(together.map(lambda each: _started(driver, each, begun["urls"][each.name], left), told))
    for each, code in zip(told, exits, strict=True):
        late = code is None
        said = {"scenario": each.name, "exit_code": ENDED if late else code, "timed_out": late}
        _json(f"{base}/lab/api/runs/{begun['run']}/end", said)
    run = _json(f"{base}/lab/api/runs/{begun['run']}")
    (left / "run.json").write_text(json.dumps(run, indent=1))
    found = {each["name"]: each for each in run["scenarios"]}
    return [_result(found[each.name], code) for each, code in zip(told, exits, strict=True)]


def _result(found: Mapping[str, Any], code: int | None) -> Result:
    """One row: the rule that was broken first, and the hop that shows it."""
    broken = next((each for each in found["rules"] if each["state"] == "broken"), None) or {}
    said = (broken.get("rule", ""), broken.get("hop"), broken.get("why", ""))
    return Result(found["name"], found["verdict"], *said, exit=code)


def _started(driver: Driver, scenario: Scenario, url: str, left: Path) -> int | None:
    """How a client ended; `None` if it had to be ended."""
    pauses = _pauses(scenario)
    with tempfile.TemporaryDirectory() as home, (left / f"{scenario.name}.log").open("wb") as log:
        browser = make_browser(Path(home) / "browsers")
        env = {**environment(Path(home), browser, scenario.name, url), "LAB_PAUSES": ",".join(map(str, pauses))}
        env |= GIVEN.get(scenario.name, {})
        env |= {"LAB_COMPANY": f"{url.removesuffix('/mcp')}/idp"} if scenario.name == COMPANY else {}
        child = subprocess.Popen(
            [*driver.command, url],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            return child.wait(driver.limit_s + sum(pauses))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(child.pid)
            child.wait()


def _pauses(scenario: Scenario) -> Sequence[int]:
    """Seconds after which a short token has ended: twice those of a very short one."""
    lives = scenario.behaviour.answers.token_seconds
    return [lives + 2] * (2 if lives <= VERY_SHORT_S else 1) if lives <= SHORT_S else []


def _end_group(leader: int) -> None:
    """End what a client started and left behind, its browser among that."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _json(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


if __name__ == "__main__":
    sys.exit(main())
