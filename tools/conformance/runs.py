"""What is run: a row per protocol version, per pinned wire, per frozen requirement set, and for the extension."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    name: str
    scenarios: int
    """How many scenarios there must be: a suite that lists more or fewer is not the one that was pinned."""

    listed_by: tuple[str, ...]
    """What makes the suite list them."""

    arguments: tuple[str, ...]
    """What makes the suite run them."""

    wire: str | None = None
    """The handshake version that the front pins; `None` where the suite's own client asks for the right one."""

    one_by_one: bool = False
    """Whether the scenarios run by name, a process each: the suite's filters leave them out together."""

    named: str = ""
    """Only the scenarios whose names begin so."""

    without: str = ""
    """None of the scenarios in whose names this stands."""


def _version(version: str, scenarios: int) -> Run:
    chosen = ("--spec-version", version)
    return Run(version, scenarios, chosen, ("--suite", "all", *chosen))


def _requirements(version: str, scenarios: int) -> Run:
    chosen = ("--requirements", version)
    return Run(f"required by {version}", scenarios, chosen, chosen)


RUNS = (
    _version("2025-03-26", 1),
    _version("2025-06-18", 27),
    _version("2025-11-25", 33),
    _version("2026-07-28", 40),
    Run(
        "2025-03-26 on its own wire",
        26,
        ("--spec-version", "2025-06-18"),
        ("--spec-version", "2025-03-26", "--force"),
        wire="2025-03-26",
        one_by_one=True,
        without="elicitation",  # which 2025-06-18 brought
    ),
    Run(
        "2025-06-18 on its own wire",
        27,
        ("--spec-version", "2025-06-18"),
        ("--suite", "all", "--spec-version", "2025-06-18"),
        wire="2025-06-18",
    ),
    _requirements("2025-11-25", 33),
    _requirements("2026-07-28", 50),
    Run("tasks (extension)", 10, (), (), one_by_one=True, named="tasks-"),
)
