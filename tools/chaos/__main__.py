"""`python -m tools.chaos`: put a fleet under load, break its parts, and say what was lost.

    make chaos                                       4 workers, 200 clients, 10 minutes, a SIGKILL every 10 s
    make chaos ARGS="--seconds 60 --fault roll"      rolling restarts
    make chaos ARGS="--seconds 180 --fault upgrade"  the same, to the next version of session records and back
    make chaos ARGS="--fault redis-kill --fsync always"
    make chaos ARGS="--seconds 180 --redis cluster --fault failover"
    make chaos ARGS="--seconds 60 --server sdk --workers 2 --fault none"    the SDK's own server, for comparison
    make chaos ARGS="--no-replay"                    clients that resume nothing: must report losses

Ends with exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path

from tools.chaos import testbed as testbeds
from tools.chaos.account import Account, account, believed, routes, troubles
from tools.chaos.faults import FAULTS, Injected
from tools.chaos.load import TOOLS
from tools.chaos.observations import read
from tools.chaos.other_servers import OTHER_SERVERS, launch_other
from tools.chaos.report import PROMISED_S, lines, promises
from tools.fleet.workers import launch_worker

ENDING_S = 150
"""How long clients may take to see the last call end: longer than any call may stay unanswered."""


def main() -> None:
    """Run what was asked for, print the report, and exit by it."""
    chosen = _arguments()
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        testbed = stack.enter_context(
            testbeds.running(
                folder,
                launch_worker
                if chosen.server == "switchboard"
                else partial(launch_other, chosen.server, chosen.command),
                workers=chosen.workers,
                tools=chosen.tools,
                store=chosen.redis,
                fsync=chosen.fsync,
                auth=chosen.auth,
                drain_grace=chosen.drain_grace,
            )
        )
        testbeds.start_clients(
            testbed,
            clients=chosen.clients,
            processes=chosen.processes,
            replay=not chosen.no_replay,
            pause=chosen.pause,
            settle=chosen.settle,
            tools=chosen.tools,
            token=chosen.token,
        )
        began = time.time()
        faults = _play(testbed, chosen)
        testbeds.end_clients(testbed.clients, ENDING_S)
        sums = _sums(testbed, faults, ledger=chosen.tools == "chaos")
        print(f"{_title(chosen)}, {time.time() - began:.0f} s: {_counts(faults)}")
    outage = max(
        (FAULTS[name].outage and FAULTS[name].held(chosen.hold) + FAULTS[name].outage for name in chosen.fault),
        default=0,
    )
    held = promises(sums, outage, chosen.silence)
    print("\n".join(lines(sums, held)), flush=True)
    sys.exit(0 if all(promise.kept for promise in held) and (faults or not chosen.fault) else 1)


def _play(testbed: testbeds.Testbed, chosen: argparse.Namespace) -> list[Injected]:
    """Inject the chosen faults in turn until the time or their number is over, and leave the fleet whole."""
    injected: list[Injected] = []
    began = time.monotonic()
    for number, name in enumerate(cycle(chosen.fault)):
        fault = FAULTS[name]
        pause = chosen.every or fault.every
        over = time.monotonic() - began + pause >= chosen.seconds
        if number >= chosen.times if chosen.times else over:
            break
        time.sleep(pause)
        injected += fault.inject(testbed, fault.held(chosen.hold))
        print(f"  {name} at {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if not chosen.times:
        time.sleep(max(began + chosen.seconds - time.monotonic(), 0))
    testbed.whole()
    return injected


def _sums(testbed: testbeds.Testbed, faults: list[Injected], *, ledger: bool) -> Account:
    observations = [seen for path in sorted(testbed.folder.glob("observations-*.jsonl")) for seen in read(path)]
    rows = testbed.rows() if ledger else believed(observations)
    served = (testbed.folder / "served.log").read_text().splitlines()
    sums = account(observations, rows, routes(served), faults)
    if testbed.balancer:
        sums.balancer = troubles(testbed.balancer.child.log.read_text().splitlines())
    return sums


def _title(chosen: argparse.Namespace) -> str:
    replay = ", without replay" if chosen.no_replay else ""
    return f"{chosen.server}, {chosen.workers} workers, {chosen.clients} clients{replay}"


def _counts(faults: list[Injected]) -> str:
    names = [fault.name for fault in faults]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "no fault"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=200, help="half of each era")
    parser.add_argument("--processes", type=int, default=3, help="processes that the clients are spread over")
    parser.add_argument("--seconds", type=float, default=600, help="how long the load lasts")
    parser.add_argument("--times", type=int, default=0, help="how many faults, however long that takes; 0: --seconds")
    parser.add_argument("--fault", action="append", choices=[*FAULTS, "none"], help="may be given again: taken in turn")
    parser.add_argument("--every", type=float, default=0, help="seconds between two faults; 0: what the table says")
    parser.add_argument(
        "--hold", type=float, default=0, help="seconds that something stays frozen or away; 0: the table"
    )
    parser.add_argument("--pause", type=float, default=1, help="seconds between two calls of a client, on average")
    parser.add_argument("--settle", type=float, default=5, help="seconds that streams are still read at the end")
    parser.add_argument("--no-replay", action="store_true", help="clients that resume nothing")
    parser.add_argument(
        "--silence", type=float, default=PROMISED_S, help="seconds that a client may wait without a sign"
    )
    parser.add_argument(
        "--server", choices=["switchboard", *OTHER_SERVERS, "command"], default="switchboard", help="what is broken"
    )
    parser.add_argument("--command", default="", help="of --server command")
    parser.add_argument("--token", default="", help="access token that clients send")
    parser.add_argument("--tools", choices=[*TOOLS], default="chaos", help="which tools are called")
    parser.add_argument("--redis", choices=["single", "cluster"], default="single")
    parser.add_argument("--fsync", choices=["everysec", "always"], default="everysec", help="of Redis")
    parser.add_argument("--auth", choices=["none", "integrated"], default="none")
    parser.add_argument("--drain-grace", type=int, default=3, help="DRAIN_GRACE of the workers")
    parser.add_argument("--folder", type=Path, help="keep logs and observations there")
    chosen = parser.parse_args()
    for name, least, most in (("workers", 2, 16), ("clients", 2, 2000), ("processes", 1, 16), ("seconds", 5, 86400)):
        if not least <= getattr(chosen, name) <= most:
            parser.error(f"--{name} must be between {least} and {most}")
    chosen.fault = [name for name in chosen.fault or ["kill"] if name != "none"]
    return chosen


if __name__ == "__main__":
    main()
