"""The authorization lab: MCP endpoints whose issuers misbehave as told, and a judge of what clients do then.

May import: keys, common, errors.
Never imports: gateway, sessions, backends, auth_server, console, admin.
"""
