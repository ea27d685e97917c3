"""What was counted since a moment of a test."""

from __future__ import annotations

from switchboard.telemetry.metrics import Labels, Values


class Counted:
    """Compares a metric with what it was when this was made: other tests count, too."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._before = dict(values.by)

    def since(self) -> dict[Labels, float]:
        """By labels, those that grew."""
        grown = {labels: value - self._before.get(labels, 0) for labels, value in self._values.by.items()}
        return {labels: more for labels, more in grown.items() if more}
