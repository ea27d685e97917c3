"""What the workers of one fleet do together.

Owns `peers`, one call to another worker; fenced leases, locks, who leads, and heartbeats.

May import: state, leaves.
Never imports: sessions, backends, http, settings.
"""

from switchboard.fleet.heartbeat import Heartbeat, mint_worker_id
from switchboard.fleet.leases import Lease
from switchboard.fleet.locks import FleetLocks

__all__ = ["FleetLocks", "Heartbeat", "Lease", "mint_worker_id"]
