"""The authorization server: OAuth 2.1 for MCP clients, with people signed in at an upstream.

Owns clients, authorizations, tokens, its endpoints and its pages. Mounted into a worker (`AuthorizationServer.routes`)
or run as its own process (`python -m auth_server`). May import `switchboard.state`, `switchboard.log` and
`switchboard.errors`; never anything else of Switchboard, which in turn imports this package in `app.py` alone.
"""

from auth_server.app import AuthorizationServer
from auth_server.settings import AuthSettings, Lifetimes, StaticClient

__all__ = ["AuthSettings", "AuthorizationServer", "Lifetimes", "StaticClient"]
