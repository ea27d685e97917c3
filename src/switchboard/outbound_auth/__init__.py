"""How this gateway is authorized at other servers: as an OAuth client, for a person or for itself.

Owns people's accounts at OAuth providers (token sets are kept in the vault, and renewed by one worker for the fleet),
what can be connected to and the notices about that, registration as a client, and grants that need no person. Which
backend is authorized how is decided by strategies.

May import: config, identity, vault, fleet, state, leaves.
Never imports: backends, plugins, sessions, http, settings, auth_server.
"""
