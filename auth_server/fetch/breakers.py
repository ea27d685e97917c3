"""Circuit breakers by host and port: whoever did not answer some times in a row is not asked for a moment.

Only silence counts, never a bad or slow answer: else anybody could close a host to its own clients by naming pages or
ports of it that are wrong.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

FAILURES = 5
PAUSE = 5.0
"""Seconds."""

_REMEMBERED = 1_000


class Breakers:
    """What is known of hosts, the one asked longest ago forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def is_open(self, host: str) -> bool:
        """Whether to leave this host alone now."""
        failures, since = self._silent.get(host, (0, 0.0))
        return failures >= FAILURES and self._clock() < since + PAUSE

    def silent(self, host: str) -> None:
        """It did not answer."""
        failures, _ = self._silent.pop(host, (0, 0.0))
        self._silent[host] = (failures + 1, self._clock())
        if len(self._silent) > _REMEMBERED:
            self._silent.popitem(last=False)

    def answered(self, host: str) -> None:
        """It said something, whatever it was."""
        self._silent.pop(host, None)
