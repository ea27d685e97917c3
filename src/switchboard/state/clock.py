"""The time that all workers of a fleet go by: Redis's, carried on by this worker's monotonic clock.

What one worker writes and another compares with the time (a code's end, a token's, a session's) must not depend on
whose machine is right. What comes from outside (a provider's token) is compared with the same time, so the machine of
Redis is the one whose clock must be right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog

WORTH_S: Final = 1.0
"""A reading that took longer says too little, once there is another."""

DIFFERS_S: Final = 5.0
"""Further apart, this machine's clock is warned of."""

log = structlog.get_logger("switchboard.state")


class FleetClock:
    """Unix seconds. Until Redis was asked, and with `memory://`, this machine's own.

    Args:
        monotonic, own: this machine's clocks.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, own: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._own = own
        self._ahead: float | None = None
        self._differs = False

    def __call__(self) -> float:
        return self._own() if self._ahead is None else self._monotonic() + self._ahead

    def read(self, asked: float, theirs: float) -> None:
        """Take what Redis said.

        Args:
            asked: when it was asked, by the monotonic clock.
            theirs: its time.
        """
        now = self._monotonic()
        if self._ahead is not None and now - asked > WORTH_S:
            return
        self._ahead = theirs - (asked + now) / 2
        if self._differs is not (abs(self.difference) > DIFFERS_S):
            self._differs = not self._differs
            log.warning("clock.diverged" if self._differs else "clock.converged", ahead_s=round(self.difference, 1))

    @property
    def difference(self) -> float:
        """How far this machine's clock is ahead of Redis's, in seconds."""
        return self._own() - self()

    def warnings(self) -> Iterator[str]:
        """What to warn of."""
        if self._differs:
            where = "ahead of" if self.difference > 0 else "behind"
            yield (
                f"This machine's clock is {abs(self.difference):.0f} s {where} that of Redis, which workers go by:"
                " set both by NTP"
            )
