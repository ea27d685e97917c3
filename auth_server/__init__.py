"""The authorization server: OAuth 2.1 for MCP clients, with people signed in at an identity provider.

Owns clients, authorizations, tokens, its endpoints and its pages. Mounted into a worker (`AuthorizationServer.routes`)
or run as its own process (`python -m auth_server`). May import `switchboard.state`,
`switchboard.common` and leaves of Switchboard; never anything else of it, which in turn imports this package
in its composition root alone.
"""

from auth_server.app import AuthorizationServer
from auth_server.settings import AuthSettings, Lifetimes, StaticClient

__all__ = ["AuthSettings", "AuthorizationServer", "Lifetimes", "StaticClient"]
