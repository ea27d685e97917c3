"""Signed JWTs: those of others verified by their key sets, our own signed with keys that rotate.

May import: store, leaves.
Never imports: endpoints, grants.
"""
