"""Who is asking: the `Principal`, and the ways to verify a token.

The only bridge to authorization. Rooms above read the principal of the request being served with
`current()`; only `http` sets it.

May import: leaves.
Never imports: auth_server, http.
"""

from switchboard.identity.claims import ClaimRules, UnacceptableToken
from switchboard.identity.in_process import InProcessVerifier
from switchboard.identity.introspection import IntrospectionRefused, IntrospectionVerifier
from switchboard.identity.jwks import IssuerKeys, JwksVerifier
from switchboard.identity.principal import ANONYMOUS, Caller, KeyBoundToken, Principal, TokenVerifier, current, serving
from switchboard.identity.scopes import ADVERTISED, IMPLIES, ScopeNames

__all__ = [
    "ADVERTISED",
    "ANONYMOUS",
    "IMPLIES",
    "Caller",
    "ClaimRules",
    "InProcessVerifier",
    "IntrospectionRefused",
    "IntrospectionVerifier",
    "IssuerKeys",
    "JwksVerifier",
    "KeyBoundToken",
    "Principal",
    "ScopeNames",
    "TokenVerifier",
    "UnacceptableToken",
    "current",
    "serving",
]
