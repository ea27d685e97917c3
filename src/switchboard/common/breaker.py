"""Circuit breakers: after some failures in a row, whoever does not answer is not asked for a while. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FAILURES: Final = 5
PAUSE_S: Final = 5.0


@dataclass(slots=True)
class Breaker:
    """Closed: ask. Open: do not. Half-open, once the pause is over: one asks, for all. Takes the time, never reads it.

    Args:
        threshold: failures in a row that open it.
        pause: seconds it stays open.
        longest: seconds it stays open at most, when it doubles its pause with each failure that will last.
    """

    threshold: int = FAILURES
    pause: float = PAUSE_S
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


class Breakers:
    """A breaker for each of many names; of more than `remembered`, the one that failed longest ago is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, remembered: int = 1_000) -> None:
        self._clock = clock
        self._remembered = remembered
        self._failing: OrderedDict[str, Breaker] = OrderedDict()

    def allows(self, name: str) -> bool:
        """Whether to ask it now."""
        breaker = self._failing.get(name)
        return breaker is None or breaker.allows(self._clock())

    def failed(self, name: str) -> None:
        """It did not answer."""
        breaker = self._failing.pop(name, None) or Breaker()
        breaker.failed(self._clock())
        self._failing[name] = breaker
        if len(self._failing) > self._remembered:
            self._failing.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """It answered, whatever it said."""
        self._failing.pop(name, None)
