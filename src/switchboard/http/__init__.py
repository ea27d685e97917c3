"""HTTP in: everything between the socket and the rooms that serve MCP.

Owns the request's way in (proxies, request ids, CORS, security headers, Host and Origin, rate limits, body size), the
bearer check that sets the principal, the protected resource metadata, and health. Each part is pure ASGI with plain
arguments; `stack.wrap` puts them in order.

Where it needs a room above, it takes a callable.

May import: sessions, catalog, identity, state, leaves.
Never imports: settings, gateway, plugins, backends.
"""
