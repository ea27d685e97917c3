"""A circuit breaker: after some failures in a row, stop asking for a while. Pure; takes the time, never reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Breaker:
    """Closed: ask. Open: do not. Half-open, once the pause is over: one asks, for all.

    Args:
        threshold: failures in a row that open it.
        pause: seconds it stays open.
    """

    threshold: int = 5
    pause: float = 5.0
    _failures: int = 0
    _closed_from: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether to ask now. In half-open state only the first gets a yes until its outcome is known."""
        if self._failures < self.threshold:
            return True
        if now < self._closed_from:
            return False
        self._closed_from = now + self.pause
        return True

    def succeeded(self) -> None:
        """An answer came."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """None came."""
        self._failures += 1
        if self._failures >= self.threshold:
            self._closed_from = now + self.pause
