"""The counting server over HTTP, where one session is one memory: `counting_http.py PORT`."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

server: MCPServer[Any] = MCPServer("counting")
calls: Counter[str] = Counter()


@server.tool(structured_output=False)
def count(ctx: Context[Any], text: str = "") -> str:
    """Count, and say the text again."""
    request = ctx.request_context.request
    session = str(request.headers.get("mcp-session-id")) if request is not None else ""
    calls[session] += 1
    return f"{session}:{calls[session]}:{text}"


if __name__ == "__main__":
    server.run("streamable-http", port=int(sys.argv[1]))
