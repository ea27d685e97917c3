"""What several rooms know about MCP messages: definitions by version, URIs of resources, members no version knows,
spans of requests.

May import: common, errors, telemetry.
Never imports: redis.
"""
