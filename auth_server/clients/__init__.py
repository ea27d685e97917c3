"""What OAuth clients are: their metadata, their redirect URIs, and how they prove who they are.

Clients register themselves (RFC 7591), are described by a document at their id, or are named by the settings.

May import: jwt, store, leaves.
Never imports: endpoints, grants.
"""
