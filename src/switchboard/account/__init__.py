"""People who sign in with a browser, and what they have at backends and plugins.

Owns the sign-in (this server is a client of the issuer that MCP clients use), the cookies and sessions, the pages at
`/connections`, the links that calls hand out, and `/api/auth/…`. Other pages of this server sign people in with the
same `SignIn`.

May import: fleet, http, outbound_auth, vault, identity, state, leaves.
Never imports: auth_server, settings, sessions, gateway, backends, plugins.
"""
