"""How a backend is doing, for operators; and how long to wait before trying again. Pure: is given the dice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Condition = Literal["starting", "ready", "failing"]

FIRST_S: Final = 0.25
LONGEST_S: Final = 4.0
"""A backend that comes back serves again within five seconds."""


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


def pause(failures: int, dice: float) -> float:
    """Seconds before the next attempt: doubling, with jitter, so that many workers do not knock at once.

    Args:
        dice: a number between 0 and 1.
    """
    doubled: float = FIRST_S * 2 ** min(failures - 1, 10)
    return min(doubled, LONGEST_S) * (0.5 + dice / 2)
