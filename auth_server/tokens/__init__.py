"""Access and refresh tokens: their formats, how a grant becomes tokens, and how a grant is renewed at refresh.

May import the store, `jwt`, the connectors and the limits; never an endpoint or a grant type.
"""
