"""FastMCP: `fastmcp_server.py serve PORT`, `… url PORT URL` or `… command PORT PROGRAM ARGUMENTS…`.

`serve` has a tool of its own; the others are its proxy, in front of an HTTP server or of a child. It runs in an
environment of its own, where nothing of this repository can be imported.
"""

from __future__ import annotations

import sys
from typing import Any

from fastmcp import FastMCP  # type: ignore[import-not-found, unused-ignore]
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found, unused-ignore]
from fastmcp.server import create_proxy  # type: ignore[import-not-found, unused-ignore]


async def echo(message: str) -> str:
    """Say it again."""
    return message


def made(kind: str, rest: list[str]) -> Any:
    """The server that was asked for."""
    if kind == "url":
        return create_proxy(rest[0])
    if kind == "command":
        return create_proxy(StdioTransport(rest[0], rest[1:]))
    server = FastMCP("bench")
    server.tool(echo)
    return server


if __name__ == "__main__":
    made(sys.argv[1], sys.argv[3:]).run(
        transport="http", host="127.0.0.1", port=int(sys.argv[2]), show_banner=False, log_level="WARNING"
    )
