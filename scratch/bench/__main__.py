"""`make bench`: installs the peers, measures the rows, keeps what was found in .cache/bench, and writes the document.

make bench                                                all of it, 25 minutes at most, and installing once
make bench ARGS=--quick                                   all of it, shorter: 6 minutes at most
make bench ARGS="--rows modern,handshake --seconds 3"     some rows; what was found of others before is kept
make bench ARGS="--peers none"                            without what has to be installed
make bench ARGS="--rows soak --soak-seconds 600"          ten minutes at full load
make bench ARGS=--document                                only write the document, from what was found before
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scratch.bench import document, fleets, idle, measure, results, times
from scratch.bench.install import peers
from scratch.bench.measure import Pace
from scratch.bench.processes import Cores
from scratch.bench.rows import ROWS
from scratch.bench.scale import limits, simulate
from scratch.bench.servers import Stage, prepare

Measures = Callable[[Stage, Pace, argparse.Namespace], dict[str, Any]]

SPECIAL: Final[Mapping[str, Measures]] = {
    "elsewhere": lambda stage, pace, _args: fleets.elsewhere(stage, pace),
    "workers": lambda stage, pace, _args: fleets.two_workers(stage, pace),
    "starts": lambda stage, pace, _args: times.starts(stage, pace),
    "idle": lambda stage, pace, args: idle.measured(stage, pace, args.streams),
    "limits": lambda stage, pace, _args: simulate.measured(stage, pace),
    "soak": lambda stage, _pace, args: times.soak(stage, args.soak_seconds),
}
"""Rows that are not calls of contestants in turn."""

ALL: Final = (*ROWS, *SPECIAL)


def wanted(args: argparse.Namespace) -> Sequence[str]:
    """The rows that were asked for, in order."""
    names = args.rows.split(",") if args.rows else list(ALL)
    return [name for name in ALL if any(name == each or name.startswith(f"{each}-") for each in names)]


def run(args: argparse.Namespace) -> None:
    """Measure."""
    rows, began = wanted(args), time.monotonic()
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as folder:
        stage = Stage(Path(folder), cores)
        try:
            for name in rows:
                pace = Pace(args.rounds, args.seconds, args.single_seconds, began + args.minutes * 60)
                if pace.is_over:
                    print(f"{name}: left out, the time is over", flush=True)
                    continue
                print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
                found = measure.measured(stage, ROWS[name], pace) if name in ROWS else SPECIAL[name](stage, pace, args)
                results.keep(name, found, cores, {"rounds": args.rounds, "seconds": args.seconds})
                for who, why in found.get("missing", {}).items():
                    print(f"    {who}: {why}", flush=True)
        finally:
            stage.close()
    print(f"measured in {time.monotonic() - began:.0f} s", flush=True)


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", default="", help=f"some of {', '.join(ALL)}; a first word stands for all that have it"
    )
    parser.add_argument("--peers", default="", help=f"some of {', '.join(peers())}; or none")
    parser.add_argument("--quick", action="store_true", help="one round of one second, fewer streams")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of 32 clients at once, in each round")
    parser.add_argument("--single-seconds", type=float, help="of one client alone, in each round")
    parser.add_argument("--streams", type=int, help="idle streams to open")
    parser.add_argument("--soak-seconds", type=float)
    parser.add_argument("--minutes", type=float, help="after which nothing more is begun")
    parser.add_argument("--document", action="store_true", help="write the document, and measure nothing")
    args = parser.parse_args()
    for name, full, quick in (
        ("rounds", 3, 1),
        ("seconds", 3.0, 1.0),
        ("single_seconds", 1.0, 0.5),
        ("streams", 15_000, 500),
        ("soak_seconds", 60.0, 10.0),
        ("minutes", 23.0, 5.5),
    ):
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else full)
    if not args.document and not wanted(args):
        parser.error(f"no such row: {args.rows}")
    return args


def main() -> None:
    """Measure, and write."""
    args = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if not args.document:
        if any(name in ROWS or name == "starts" for name in wanted(args)):
            prepare(args.peers.split(",") if args.peers else peers())
        run(args)
    document.write()
    limits.write()


if __name__ == "__main__":
    main()
