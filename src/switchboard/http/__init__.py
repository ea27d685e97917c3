"""HTTP in: everything between the socket and the rooms that serve MCP.

Owns the middleware (`middleware/`: proxies, request log, CORS, security headers, Host and Origin, rate limits, body
size, the bearer check that sets the principal; `stack.wrap` puts them in order), `/mcp` of both eras, HTTP+SSE and
WebSocket, which scopes a message needs, the protected resource metadata, and probes. Each part is
pure ASGI with plain arguments.

Where it needs a room above, it takes a callable.

May import: sessions, catalog, identity, state, leaves.
Never imports: settings, gateway, plugins, backends.
"""
