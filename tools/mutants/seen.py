"""Which tests run a line of a room's source: measured once with coverage, kept, and measured anew for what changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as Xml

from coverage import CoverageData

CACHE = Path(".cache/mutants")


@dataclass
class Seen:
    """What the tests of one room run.

    Args:
        room: under whose name it is kept.
        sources: the room's modules.
        tests: the test files that may notice faults in them.
    """

    room: str
    sources: list[Path]
    tests: list[Path]

    def measure(self) -> None:
        """Run the tests whose files are new or changed since; all of them when the source is."""
        CACHE.mkdir(parents=True, exist_ok=True)
        kept = json.loads(self._notes.read_text()) if self._notes.exists() else {}
        sources = _digest(self.sources)
        if kept.get("sources") != sources:
            kept = {"sources": sources, "tests": {}, "seconds": {}}
            self._data.unlink(missing_ok=True)
        changed = [path for path in self.tests if kept["tests"].get(str(path)) != _digest([path])]
        if changed:
            print(f"measuring which lines {len(changed)} test files run", flush=True)
            kept["seconds"] |= self._run(changed)
            kept["tests"] |= {str(path): _digest([path]) for path in changed}
            self._notes.write_text(json.dumps(kept))
        self._seconds: dict[str, float] = kept["seconds"]
        self._contexts = CoverageData(str(self._data))
        self._contexts.read()

    def tests_of(self, path: Path, line: int, most_s: float) -> tuple[list[str], int]:
        """The tests that run a line, the quickest first, as many as take `most_s`; and how many more there are.

        Of a line that is run at import, such as those of a script for Redis, the tests that run anything of its module.
        """
        lines = self._contexts.contexts_by_lineno(str(path.resolve()))
        begun = max((each for each in lines if each <= line), default=0)
        there = _tests(lines.get(begun, ())) or _tests(context for contexts in lines.values() for context in contexts)
        chosen: list[str] = []
        total = 0.0
        for test in sorted(there & self._seconds.keys(), key=lambda test: (self.seconds(test), test)):
            total += self.seconds(test)
            if not chosen or total <= most_s:
                chosen.append(test)
        return chosen, len(there) - len(chosen)

    def seconds(self, test: str) -> float:
        """How long a test took."""
        return self._seconds[test]

    def _run(self, changed: Iterable[Path]) -> dict[str, float]:
        report = CACHE / f"{self._data.stem}.xml"
        words = ["--cov", "--cov-append", "--cov-context=test", "--cov-report=", "-q", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", *words, "-o", "junit_family=xunit1", *map(str, changed)]
        subprocess.run(command, env={**os.environ, "COVERAGE_FILE": str(self._data)}, check=False)
        cases = list(Xml.parse(report).iter("testcase"))
        failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        for case in failed:
            print(f"left out, since it fails without a fault: {_id(case)}", flush=True)
        return {_id(case): float(case.get("time", 0)) for case in cases if case not in failed}

    @property
    def _data(self) -> Path:
        return CACHE / f"{self.room.replace('/', '.')}.coverage"

    @property
    def _notes(self) -> Path:
        return self._data.with_suffix(".json")


def _id(case: Xml.Element) -> str:
    return f"{case.get('file')}::{case.get('name')}"


def _tests(contexts: Iterable[str]) -> set[str]:
    return {context.rpartition("|")[0] for context in contexts if context}


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return whole.hexdigest()
