"""The table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools.conformance.results import Outcome
from tools.conformance.runs import Run
from tools.conformance.turns import Turns

_TITLES = ("run", "authorization", "scenarios", "checks", "skipped by the suite", "warnings", "failures", "seconds")


@dataclass(frozen=True)
class ReportLine:
    """One run and what came of it."""

    run: Run
    authorization: str
    listed: int
    outcome: Outcome
    turns: Turns
    faults: tuple[str, ...]

    @property
    def title(self) -> str:
        """Which run it was."""
        return f"{self.run.name}, authorization {self.authorization}"

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the titles."""
        checks = self.outcome.checks
        return (
            self.run.name,
            self.authorization,
            f"{len(self.outcome.passed)}/{self.listed - len(self.outcome.skipped)}",
            str(checks["SUCCESS"]),
            str(len(self.outcome.skipped)),
            str(checks["WARNING"]),
            str(checks["FAILURE"]),
            f"{self.outcome.seconds:.1f}",
        )


def table(lines: Sequence[ReportLine]) -> str:
    """All runs as a Markdown table."""
    rows = [_TITLES, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lined = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lined[0]} |", f"|{rule}|", *(f"| {line} |" for line in lined[1:])])


def proof(line: ReportLine) -> str:
    """What the balancer's log says after the last run of a fleet."""
    served = " + ".join(str(count) for count in line.turns.served.values())
    return (
        f"authorization {line.authorization}: {sum(line.turns.served.values())} requests in turn: {served}; "
        f"{line.turns.changes:.0%} ended right after one of the other worker"
    )
