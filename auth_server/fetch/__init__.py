"""Documents at addresses that clients name, fetched from the public internet alone.

Owns the bounds of what is fetched, which addresses are public, and the hosts that are left alone for a moment. Knows
nothing of what is in the documents.

May import: leaves.
Never imports: store, endpoints.
"""
