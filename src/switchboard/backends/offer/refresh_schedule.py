"""How soon a backend that says that something changed is asked again. Pure: is told the time.

Some say so whenever they are asked. Refreshes that follow each other come after longer and longer pauses, as attempts
that fail do; once a backend was quiet for a while, it is asked at once again.
"""

from __future__ import annotations

from typing import Final

SETTLE_S: Final = 0.05
"""Change notices often come in groups."""

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 60.0
"""Between refreshes that find nothing new."""

LONGEST_CHANGED_PAUSE_S: Final = 4.0
"""Between refreshes that find something new each time."""

QUIET_PAUSES: Final = 2.0
"""A backend that was silent for so many pauses is quiet again; two seconds at least."""


class RefreshSchedule:
    """When one backend is asked again."""

    def __init__(self) -> None:
        self.in_a_row = 0
        """In quick succession."""

        self._started = -LONGEST_PAUSE_S
        self._found_new = True

    @property
    def pause(self) -> float:
        """Seconds before the next refresh."""
        if not self.in_a_row:
            return SETTLE_S
        longest = LONGEST_CHANGED_PAUSE_S if self._found_new else LONGEST_PAUSE_S
        doubled: float = FIRST_PAUSE_S * 2 ** min(self.in_a_row - 1, 10)
        return min(doubled, longest)

    def requested(self, now: float) -> None:
        """It says that something changed."""
        quiet = now - self._started > max(QUIET_PAUSES, QUIET_PAUSES * self.pause)
        self.in_a_row = 0 if quiet else self.in_a_row + 1

    def started(self, now: float) -> None:
        """It is asked."""
        self._started = now
        self._found_new = False

    def changed(self) -> None:
        """It offers something new."""
        self._found_new = True
