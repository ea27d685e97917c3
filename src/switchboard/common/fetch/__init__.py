"""HTTP to addresses that others chose: whom it may reach, how much of an answer is read, and for how long.

Owns which addresses are public, the transport that connects to those alone, and the fetcher of documents that clients
name. Knows nothing of what is in the documents.

May import: leaves.
Never imports: redis, mcp.
"""
