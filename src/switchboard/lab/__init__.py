"""The authorization lab at `/lab`: MCP endpoints whose issuers misbehave as told, and a judge of what clients do then.

Owns its scenarios, their issuers and MCP server, the record of what clients did, and the rules that judge it. What it
gives out is signed with a key of its own, and is good for one scenario of one run.

May import: state, keys, common, errors.
Never imports: identity, gateway, sessions, backends, auth_server, console, admin.
"""
