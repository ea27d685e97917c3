"""Authorization towards backends: whose credential opens the next door.

Owns the accounts of people at OAuth providers, what can be connected to, and the notices about that.

May import: state, leaves.
Never imports: backends, http, auth_server.
"""
