"""The tools that are called in every row: an SDK server, which is at once the plugin that our workers serve.

So our server and the SDK's own run the very same functions behind the very same definitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer

from switchboard.plugins import Plugin

STEPS: Final = 3
"""How often `steps` reports."""

OTHERS: Final = 16
"""Tools that nobody calls, so that a page of the list has 20."""


async def echo(message: str) -> str:
    """Say it again."""
    return message


async def whoami(message: str, ctx: Context[Any]) -> str:
    """Say it again, having looked at the request."""
    return f"{message}{'' if ctx.request_id else ' without an id'}"


async def steps(message: str, ctx: Context[Any]) -> str:
    """Say it again, having reported how far it is."""
    for step in range(1, STEPS + 1):
        await ctx.report_progress(step, STEPS, f"step {step}")
    return message


async def tasks(message: str) -> str:
    """Say it again, and how many tasks this process has."""
    return f"{message} {len(asyncio.all_tasks())} tasks"


def server() -> MCPServer[Any]:
    """A server with all of them."""
    made: MCPServer[Any] = MCPServer("bench", log_level="WARNING")
    for function in (echo, whoami, steps, tasks):
        made.add_tool(function)
    for number in range(OTHERS):
        made.add_tool(echo, name=f"other_{number:02}", description=f"Say it again, as number {number} does.")
    return made


def plugin(_config: Mapping[str, object]) -> Plugin:
    """The factory that the entry point names."""
    return Plugin(name="bench", version="1.0.0", server=server())
