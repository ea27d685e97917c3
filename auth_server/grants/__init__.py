"""The grant types of the token endpoint: small strategies, one a file.

A strategy gets an authenticated client and parsed parameters, and returns a token response or raises a `Refusal`.

May import: authorization, jwt, shared, store, leaves.
Never imports: endpoints.
"""

from auth_server.grants.base import GRANT_TYPES, GrantStrategy, TokenRequest

__all__ = ["GRANT_TYPES", "GrantStrategy", "TokenRequest"]
