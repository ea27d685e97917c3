"""Connectors to the identity provider that signs people in: the fake one here, OpenID Connect, or GitHub.

A connector begins a login with a single-use state and ends it with an identity. It knows nothing of clients, codes and
tokens of this server.

May import: http, jwt, pages, store, leaves.
Never imports: endpoints, grants, clients, tokens.
"""

from auth_server.connectors.base import Connector, LoginRedirect

__all__ = ["Connector", "LoginRedirect"]
