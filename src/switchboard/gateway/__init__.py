"""The one MCP server that clients see."""
