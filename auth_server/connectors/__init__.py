"""Where people are signed in: the fake identity provider here, or a real one.

An upstream knows nothing of clients, codes and tokens. It is begun with a single-use state, and answers with an
identity.
"""

from auth_server.connectors.base import Departure, Identity, Upstream, UpstreamRefusal

__all__ = ["Departure", "Identity", "Upstream", "UpstreamRefusal"]
