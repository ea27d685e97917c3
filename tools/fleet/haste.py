"""Times for fleets whose workers are lost on purpose: a loss is known after three seconds instead of twelve."""

from __future__ import annotations

from typing import Final

from switchboard.timing import Timing

HASTE: Final = Timing(lease_s=3.0, renew_s=0.5, poll_s=0.3)
"""A busy machine may keep a worker from renewing for two seconds, and nothing is lost."""
