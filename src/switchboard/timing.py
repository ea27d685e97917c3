"""How long workers wait for one another: one set of times for everything that a worker holds, renews and looks for.

The composition root gives it to the shared state, and whoever has that reads it there. The times hang together, so they
are changed together: a fleet of workers that share a Redis has one set.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds, unless a name says otherwise."""

    lease_s: float = 12.0
    """For how long what a worker holds is its own without being renewed; whoever is silent for longer has lost it.

    Three times `renew_s`: two renewals may fail, or a machine stand still for a while, and nothing is lost.
    """

    renew_s: float = 4.0
    """How often leases and heartbeats are renewed."""

    poll_s: float = 3.0
    """How often a follower or waiter looks at the stored copy, woken or not: a wake-up may be lost."""

    @property
    def lease_ms(self) -> int:
        """As scripts take it."""
        return round(self.lease_s * 1000)

    @property
    def late_s(self) -> float:
        """How long Redis may not answer before that counts as a break: a lease renewed before has as much left."""
        return 1.5 * self.renew_s

    @property
    def settled_s(self) -> float:
        """After a break, every living worker has renewed what it holds by then."""
        return 1.5 * self.renew_s
