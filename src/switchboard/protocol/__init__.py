"""What several rooms know about MCP messages: definitions by version, URIs of resources, members no version knows.

May import: common, errors.
Never imports: redis.
"""
