"""How an OAuth client proves at an authorization server which client it is: by a secret, or by a key.

Both processes are clients: of identity providers, of their own issuer, and of the servers that backends trust.

May import: leaves.
Never imports: redis, mcp.
"""
