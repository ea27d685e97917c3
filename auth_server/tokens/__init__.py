"""Access and refresh tokens: their formats, how a grant becomes tokens, and how a grant is renewed at refresh.

May import: audit, authorization, connectors, http, jwt, store, leaves.
Never imports: endpoints, grants.
"""
