"""`python -m chaos`: put a fleet under load, break its parts, and say what was lost.

    make chaos                                       4 workers, 200 clients, 10 minutes, a SIGKILL every 10 s
    make chaos ARGS="--seconds 60 --fault roll"      rolling restarts
    make chaos ARGS="--fault redis-kill --fsync always"
    make chaos ARGS="--no-replay"                    clients that resume nothing: must report losses

Ends with exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from chaos import stage as stages
from chaos.account import Account, account, routes, troubles
from chaos.faults import FAULTS, Injected
from chaos.notes import read
from chaos.report import lines, promises

ENDING_S = 150
"""How long clients may take to see the last call end: longer than any call may stay unanswered."""


def main() -> None:
    """Run what was asked for, print the report, and exit by it."""
    chosen = _arguments()
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        stage = stack.enter_context(
            stages.running(
                folder, workers=chosen.workers, fsync=chosen.fsync, auth=chosen.auth, drain_grace=chosen.drain_grace
            )
        )
        stages.start_clients(
            stage,
            clients=chosen.clients,
            processes=chosen.processes,
            replay=not chosen.no_replay,
            pause=chosen.pause,
            settle=chosen.settle,
        )
        began = time.time()
        faults = _play(stage, chosen)
        stages.end_clients(stage.clients, ENDING_S)
        sums = _sums(stage, faults)
        print(f"{_title(chosen)}, {time.time() - began:.0f} s: {_counts(faults)}")
    outage = max(
        (FAULTS[name].outage and FAULTS[name].held(chosen.hold) + FAULTS[name].outage for name in chosen.fault),
        default=0,
    )
    held = promises(sums, outage)
    print("\n".join(lines(sums, held)), flush=True)
    sys.exit(0 if all(promise.kept for promise in held) and (faults or not chosen.fault) else 1)


def _play(stage: stages.Stage, chosen: argparse.Namespace) -> list[Injected]:
    """Inject the chosen faults in turn until the time is over, and leave the fleet whole."""
    injected: list[Injected] = []
    ends = time.monotonic() + chosen.seconds
    for name in cycle(chosen.fault):
        fault = FAULTS[name]
        pause = chosen.every or fault.every
        if time.monotonic() + pause >= ends:
            break
        time.sleep(pause)
        injected += fault.inject(stage, fault.held(chosen.hold))
        print(f"  {name} at {chosen.seconds - (ends - time.monotonic()):.0f} s", file=sys.stderr, flush=True)
    time.sleep(max(ends - time.monotonic(), 0))
    for index in range(len(stage.workers)):
        stage.ready(index)
    return injected


def _sums(stage: stages.Stage, faults: list[Injected]) -> Account:
    notes = [note for path in sorted(stage.folder.glob("notes-*.jsonl")) for note in read(path)]
    served = (stage.folder / "served.log").read_text().splitlines()
    sums = account(notes, stage.rows(), routes(served), faults)
    sums.balancer = troubles(stage.balancer.child.log.read_text().splitlines())
    return sums


def _title(chosen: argparse.Namespace) -> str:
    replay = ", without replay" if chosen.no_replay else ""
    return f"{chosen.workers} workers, {chosen.clients} clients{replay}"


def _counts(faults: list[Injected]) -> str:
    names = [fault.name for fault in faults]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "no fault"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--clients", type=int, default=200, help="half of each era")
    parser.add_argument("--processes", type=int, default=3, help="processes that the clients are spread over")
    parser.add_argument("--seconds", type=float, default=600, help="how long the load lasts")
    parser.add_argument("--fault", action="append", choices=[*FAULTS, "none"], help="may be given again: taken in turn")
    parser.add_argument("--every", type=float, default=0, help="seconds between two faults; 0: what the table says")
    parser.add_argument(
        "--hold", type=float, default=0, help="seconds that something stays frozen or away; 0: the table"
    )
    parser.add_argument("--pause", type=float, default=1, help="seconds between two calls of a client, on average")
    parser.add_argument("--settle", type=float, default=5, help="seconds that streams are still read at the end")
    parser.add_argument("--no-replay", action="store_true", help="clients that resume nothing")
    parser.add_argument("--fsync", choices=["everysec", "always"], default="everysec", help="of Redis")
    parser.add_argument("--auth", choices=["none", "integrated"], default="none")
    parser.add_argument("--drain-grace", type=int, default=3, help="DRAIN_GRACE of the workers")
    parser.add_argument("--folder", type=Path, help="keep logs and notes there")
    chosen = parser.parse_args()
    for name, least, most in (("workers", 2, 16), ("clients", 2, 2000), ("processes", 1, 16), ("seconds", 5, 86400)):
        if not least <= getattr(chosen, name) <= most:
            parser.error(f"--{name} must be between {least} and {most}")
    chosen.fault = [name for name in chosen.fault or ["kill"] if name != "none"]
    return chosen


if __name__ == "__main__":
    main()
