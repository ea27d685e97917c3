"""What one check of `switchboard doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    check: str
    verdict: Verdict
    said: str
