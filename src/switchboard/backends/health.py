"""How a backend is doing, for operators; and how long to wait before trying again. Pure: is given the jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Condition = Literal["starting", "ready", "failing"]

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 4.0
"""A backend that comes back by itself serves again within five seconds."""

LONGEST_BROKEN_PAUSE_S: Final = 300.0
"""One that somebody has to mend can be started by hand then."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a backend on this worker."""

    condition: Condition = "starting"
    failures: int = 0
    """In a row."""

    reason: str = ""
    """Of the last failure."""

    def ready(self) -> Health:
        """It answered."""
        return Health("ready")

    def failed(self, reason: str) -> Health:
        """It did not."""
        return Health("failing", self.failures + 1, reason)


def pause(failures: int, jitter: float, *, broken: bool = False) -> float:
    """Seconds before the next attempt: doubling, with jitter, so that many workers do not try at once.

    Args:
        jitter: a number between 0 and 1.
        broken: whether it will go on failing until somebody mends it.
    """
    doubled: float = FIRST_PAUSE_S * 2 ** min(failures - 1, 12)
    return min(doubled, LONGEST_BROKEN_PAUSE_S if broken else LONGEST_PAUSE_S) * (0.5 + jitter / 2)
