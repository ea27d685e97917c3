"""What the workers of one fleet do together.

Owns `peers`, one call to another worker; fenced leases, who leads, and heartbeats.

May import: state, leaves.
Never imports: sessions, backends, http, settings.
"""

from switchboard.fleet.heartbeat import Heartbeat, mint_worker_id
from switchboard.fleet.leases import Lease

__all__ = ["Heartbeat", "Lease", "mint_worker_id"]
