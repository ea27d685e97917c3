"""What the soak calls on a worker, and what it asks of it: how many tasks its event loop has."""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import MCPServer

from switchboard.plugins import Plugin


def echo(message: str) -> str:
    """Give the message back."""
    return message


async def tasks() -> int:
    """How many tasks there are in this process."""
    return len(asyncio.all_tasks())


def plugin(_config: object) -> Plugin:
    """The factory."""
    server = MCPServer("soak")
    server.add_tool(echo, description="Give the message back.")
    server.add_tool(tasks, description="Count the tasks of this process.")
    return Plugin("soak", "1.0.0", server)
