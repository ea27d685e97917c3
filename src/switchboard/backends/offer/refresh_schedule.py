"""How soon a backend that says that something changed is asked again. Pure: is told the time.

Some say so whenever they are asked. Looks that follow each other come after longer and longer pauses, as attempts that
fail do; once a backend was quiet for a while, it is asked at once again.
"""

from __future__ import annotations

from typing import Final

SETTLE_S: Final = 0.05
"""Change notices often come in groups."""

FIRST_S: Final = 0.25
LONGEST_S: Final = 60.0
"""Between looks that find nothing new."""

LONGEST_CHANGED_S: Final = 4.0
"""Between looks that find something new each time."""

QUIET: Final = 2.0
"""A backend that was silent for so many pauses is quiet again; two seconds at least."""


class RefreshSchedule:
    """The looks at one backend."""

    def __init__(self) -> None:
        self.hurried = 0
        """In quick succession."""

        self._began = -LONGEST_S
        self._fruitful = True

    @property
    def pause(self) -> float:
        """Seconds before the next look."""
        if not self.hurried:
            return SETTLE_S
        longest = LONGEST_CHANGED_S if self._fruitful else LONGEST_S
        doubled: float = FIRST_S * 2 ** min(self.hurried - 1, 10)
        return min(doubled, longest)

    def asked(self, now: float) -> None:
        """It says that something changed."""
        quiet = now - self._began > max(QUIET, QUIET * self.pause)
        self.hurried = 0 if quiet else self.hurried + 1

    def began(self, now: float) -> None:
        """It is asked."""
        self._began = now
        self._fruitful = False

    def changed(self) -> None:
        """It offers something new."""
        self._fruitful = True
