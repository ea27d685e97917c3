"""How much of one kind of work may be under way: in all, and for each of those who cause it.

Nobody waits for a share, since a queue in front of slow work only moves the wait: whoever gets none is refused at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Shares:
    """Counts what is under way.

    Args:
        at_once: how much there may be in all.
        each: how much of that one of a kind may have: `Shares(64, source=4)` for four of each source.
    """

    def __init__(self, at_once: int, **each: int) -> None:
        self._at_once = at_once
        self._each = each
        self._of: Counter[tuple[str, str]] = Counter()
        self.taken = 0
        """How much is under way."""

    def take(self, **who: str) -> Callable[[], None] | None:
        """A share for `who`: what gives it back, to be called once; `None` when there is none left."""
        held = [(kind, name) for kind, name in who.items() if kind in self._each]
        if self.taken >= self._at_once or any(self._of[one] >= self._each[one[0]] for one in held):
            return None
        self.taken += 1
        self._of.update(held)

        def give_back() -> None:
            self.taken -= 1
            self._of.subtract(held)
            for one in held:
                if not self._of[one]:
                    del self._of[one]

        return give_back
