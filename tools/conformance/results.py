"""What a run found, read from the files that the suite leaves: a folder per scenario, with its checks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FOLDER = re.compile(r"(?:(?:authorization-)?server-)?(?P<scenario>.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z")
BAD = ("FAILURE", "WARNING")


@dataclass(frozen=True)
class Outcome:
    """The result of one run."""

    passed: tuple[str, ...]
    """Scenarios with at least one check that succeeded and none that failed or warned."""

    skipped: tuple[str, ...]
    """Scenarios of which the suite says itself that nothing was checked."""

    checks: Counter[str]
    """Status → how many checks have it."""

    faults: tuple[str, ...]
    """What failed or warned, was not run, or was run unasked: in words."""

    seconds: float

    @property
    def good(self) -> bool:
        """Whether there is nothing to complain about."""
        return not self.faults


def read(out: Path, wanted: Sequence[str], *, complaints: int, seconds: float) -> Outcome:
    """Read the results under `out`, which must be those of the `wanted` scenarios.

    Args:
        complaints: how many starts of the suite ended with an exit code other than 0.
    """
    found = dict(_found(out))
    by_status = {name: Counter(check["status"] for check in checks) for name, checks in found.items()}
    faults = [*_bad(found), *_astray(found, wanted)]
    faults += [f"{name}: no check at all" for name, counts in by_status.items() if not counts]
    if complaints and not faults:
        faults.append(f"the suite complained {complaints} times, see {out / 'suite.log'}")
    clean = [name for name, counts in by_status.items() if not any(counts[status] for status in BAD)]
    return Outcome(
        passed=tuple(name for name in clean if by_status[name]["SUCCESS"]),
        skipped=tuple(name for name in clean if not by_status[name]["SUCCESS"]),
        checks=sum(by_status.values(), Counter()),
        faults=tuple(faults),
        seconds=seconds,
    )


def _found(out: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for file in sorted(out.glob("*/checks.json")):
        match = _FOLDER.fullmatch(file.parent.name)
        if match is not None:
            yield match["scenario"], json.loads(file.read_text())


def _bad(found: dict[str, list[dict[str, str]]]) -> Iterator[str]:
    for scenario, checks in found.items():
        for check in checks:
            if check["status"] in BAD:
                said = check.get("errorMessage") or check.get("description", "")
                yield f"{scenario}: {check['status']} {check['id']}: {said}"


def _astray(found: dict[str, list[dict[str, str]]], wanted: Sequence[str]) -> Iterator[str]:
    yield from (f"{name}: was not run" for name in wanted if name not in found)
    yield from (f"{name}: was run, but is not listed" for name in found if name not in wanted)
