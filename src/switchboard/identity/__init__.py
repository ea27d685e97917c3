"""Who is asking: the `Principal`, and the ways to verify a token.

The only bridge to authorization. Rooms above read the principal of the request being served with
`current()`; only the edge sets it. May import `state`, `errors` and `log`; never a room above, never `auth_server`.
"""

from switchboard.identity.principal import ANONYMOUS, Caller, Principal, TokenVerifier, current, serving

__all__ = ["ANONYMOUS", "Caller", "Principal", "TokenVerifier", "current", "serving"]
