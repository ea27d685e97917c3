"""What an authorization or token request may ask for, and what of it is granted. Pure.

Owns the checks of an authorization request, resources (RFC 8707), scopes and subjects.

May import: leaves.
Never imports: store, endpoints, grants.
"""
