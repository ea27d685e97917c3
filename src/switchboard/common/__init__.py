"""What several rooms and the authorization server share, and what belongs to none of them.

May import: errors, aio, timing.
Never imports: redis, mcp.
"""
