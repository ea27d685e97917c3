"""A circuit breaker: after some failures in a row, stop asking for a while. Pure; takes the time, never reads it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Breaker:
    """Closed: ask. Open: do not. Half-open, once the pause is over: one asks, for all.

    Args:
        threshold: failures in a row that open it.
        pause: seconds it stays open.
        longest: seconds it stays open at most, when it doubles its pause with each failure that will last.
    """

    threshold: int = 5
    pause: float = 5.0
    longest: float = 0.0
    _failures: int = 0
    _closed_from: float = 0.0
    _pause: float = field(init=False)

    def __post_init__(self) -> None:
        self._pause = self.pause

    def allows(self, now: float) -> bool:
        """Whether to ask now. In half-open state only the first gets a yes until its outcome is known."""
        if self._failures < self.threshold:
            return True
        if now < self._closed_from:
            return False
        self._closed_from = now + self._pause
        return True

    @property
    def failing(self) -> bool:
        """Whether the last answer was none."""
        return self._failures > 0

    def succeeded(self) -> None:
        """An answer came."""
        self._failures, self._pause = 0, self.pause

    def failed(self, now: float, *, lasting: bool = False) -> None:
        """None came; `lasting` if none will until somebody mends it."""
        self._failures += 1
        if self._failures >= self.threshold:
            again = lasting and self._failures > self.threshold
            self._pause = min(2 * self._pause, self.longest or self.pause) if again else self.pause
            self._closed_from = now + self._pause
