"""The results of clients in the lab: results.json, and the tables that docs/lab.md shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from switchboard.lab.rules import RULES
from switchboard.lab.scenarios import BY_NAME, SCENARIOS
from tools.lab.drivers import DRIVERS

FILE: Final = Path(__file__).with_name("results.json")
MARKS: Final = {"passed": "passed", "failed": "**failed**", "crashed": "crashed", "not_tried": "not tried"}

NOT_ALL_SERVED: Final = frozenset({"step-up-never", "forbidden", "token-429"})
"""Scenarios in which a right client ends with a call that is refused, or may give up before."""


@dataclass(frozen=True)
class Result:
    """What became of one scenario.

    Args:
        rule, hop, why: of the rule that was broken first.
        exit: how the driver ended: 0 if all calls were served; `None` if it did not end.
    """

    scenario: str
    verdict: str
    rule: str = ""
    hop: int | None = None
    why: str = ""
    exit: int | None = 0


Results = Mapping[str, tuple[str, Sequence[Result]]]
"""By driver: the client's version, and its results."""


def read() -> Results:
    """What was written last."""
    found: Mapping[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {name: (each["version"], [Result(**row) for row in each["results"]]) for name, each in found.items()}


def write(results: Results) -> None:
    """Keep results, in the order of the drivers."""
    document = {
        name: {"version": results[name][0], "results": [asdict(row) for row in results[name][1]]}
        for name in DRIVERS
        if name in results
    }
    FILE.write_text(json.dumps(document, indent=1) + "\n")


def merged(
    before: tuple[str, Sequence[Result]] | None, version: str, found: Sequence[Result]
) -> tuple[str, Sequence[Result]]:
    """New results of a client, and those of other scenarios that the same version had before."""
    rows = {row.scenario: row for row in (before[1] if before and before[0] == version else ())}
    rows |= {row.scenario: row for row in found}
    return version, [rows[scenario.name] for scenario in SCENARIOS if scenario.name in rows]


def tables(results: Results) -> str:
    """A table of clients, one of scenarios by client, the failures, and where a client passed and was not served."""
    clients = ["| client | version | passed | failed | crashed | not tried |", "|---|---|---|---|---|---|"]
    for name, (version, rows) in results.items():
        counts = (str(sum(row.verdict == verdict for row in rows)) for verdict in MARKS)
        clients.append(f"| {DRIVERS[name].title} | {version} | {' | '.join(counts)} |")
    by_client = [{row.scenario: row.verdict for row in rows} for _, rows in results.values()]
    cells = [f"| scenario | {' | '.join(DRIVERS[name].title for name in results)} |", "|---" * (len(results) + 1) + "|"]
    for scenario in SCENARIOS:
        marks = (MARKS.get(verdicts.get(scenario.name, ""), "") for verdicts in by_client)
        cells.append(f"| `{scenario.name}` | {' | '.join(marks)} |")
    failed = ["What failed, as the recorder has it, with the request that shows it:", "", *_failures(results)]
    unserved = ["Passed, though not all calls were served where a right client's are:", "", *_unserved(results)]
    return "\n".join([*clients, "", *cells, "", *failed, "", *unserved])


def _failures(results: Results) -> Iterator[str]:
    """One line for each scenario and reason, with the clients that it is true of."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, (_, rows) in results.items():
        for row in (each for each in rows if each.verdict == "failed"):
            found.setdefault((row.scenario, row.rule, row.why), []).append(f"{DRIVERS[name].title} ({row.hop})")
    order = [scenario.name for scenario in SCENARIOS]
    for (scenario, rule, why), titles in sorted(found.items(), key=lambda each: order.index(each[0][0])):
        text = f"[{RULES[rule].text}]({RULES[rule].url}), of {BY_NAME[scenario].spec_version}"
        yield f"* `{scenario}`: {why} ({text}): {', '.join(titles)}."


def _unserved(results: Results) -> Iterator[str]:
    """By scenario the clients that broke no rule, and whose driver did not end with 0 all the same."""
    for scenario in (each for each in SCENARIOS if each.expects == "calls" and each.name not in NOT_ALL_SERVED):
        titles = [
            DRIVERS[name].title
            for name, (_, rows) in results.items()
            for row in rows
            if row.scenario == scenario.name and row.verdict == "passed" and row.exit != 0
        ]
        if titles:
            yield f"* `{scenario.name}`: {', '.join(titles)}."
