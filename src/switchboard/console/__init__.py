"""The console under `/admin`: pages on which an operator sees the fleet and changes it.

Owns the pages, their scripts and style, and what stands between a signed-in browser and the REST API or the MCP
endpoint: the session instead of a token, and proof that a request is of one of these pages. All data is that of the
REST API; the console has none of its own.

May import: account, admin, http, identity, leaves.
Never imports: auth_server, settings, sessions, gateway, backends, plugins.
"""
