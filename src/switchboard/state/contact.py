"""How long this worker and Redis have been in touch without a break: what other workers may be judged by.

Leases and heartbeats lapse while Redis stands still, is restarted or cannot be reached, though their holders live. So
whoever finds one lapsed takes its holder for dead only once Redis has answered for as long as a holder needs to renew.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from switchboard.timing import Timing


class Contact:
    """Since when Redis has answered this worker.

    Args:
        clock: seconds; of this worker alone.
        unbroken: there can be no break: the state is in this process.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, timing: Timing | None = None, unbroken: bool = False
    ) -> None:
        self._timing = timing or Timing()
        self._clock = clock
        self._unbroken = unbroken
        self._answered = self._since = float("-inf")
        self.leave_at = float("inf")
        """After this nobody waits for Redis any more: the worker leaves."""

    def answered(self) -> None:
        """Redis answered."""
        now = self._clock()
        if now - self._answered > self._timing.late_s:
            self._since = now
        self._answered = now

    def broken(self) -> None:
        """A connection ended: Redis may have been restarted since it answered last."""
        self._answered = float("-inf")

    def leave(self, seconds: float) -> None:
        """The worker leaves in so many seconds, counted from the first time this is called."""
        self.leave_at = min(self.leave_at, self._clock() + seconds)

    @property
    def given_up(self) -> bool:
        """Whether nothing is asked of Redis any more: the worker's time is over, and Redis has not answered lately."""
        now = self._clock()
        return now >= self.leave_at and now - self._answered > self._timing.late_s and not self._unbroken

    @property
    def since(self) -> float:
        """When it began, by the monotonic clock; now, while there is none."""
        now = self._clock()
        if self._unbroken:
            return float("-inf")
        return now if now - self._answered > self._timing.late_s else self._since

    @property
    def settled(self) -> bool:
        """Whether what has lapsed now was not renewed by anybody, though there was time to."""
        return self._clock() - self.since >= self._timing.settled_s

    def silence(self, heard: float) -> float:
        """For how many seconds nothing was heard that could have been.

        Args:
            heard: when something was heard last, by the monotonic clock.
        """
        return self._clock() - max(heard, self.since)
