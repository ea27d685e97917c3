"""HTTP in: everything between the socket and the rooms that serve MCP.

Owns the request's way in (proxies, request ids, CORS, security headers, Host and Origin, rate limits, body size), the
bearer check that sets the principal, the protected resource metadata, and health. Each part is pure ASGI with plain
arguments; `stack.wrap` puts them in order.

May import `identity`, `state`, `errors`, `log` and the MCP SDK. Never reads settings, and never imports a session,
a gateway or a plugin: where it needs them it takes a callable.
"""
