"""Tools that say something while they run: log messages, progress, and one that hangs up and goes on."""

from __future__ import annotations

import warnings
from typing import Any

import anyio
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import LoggingLevel

from switchboard.conformance.fixture import Fixture

BEAT = 0.05
"""Seconds between two things said, so that a client sees them come one by one."""

AWAY = 0.2
"""Seconds that `test_reconnection` works on after it hung up."""


async def logged(ctx: Context[Any], level: LoggingLevel, data: str) -> None:
    """Send a log message that belongs to the call."""
    with warnings.catch_warnings():  # around the call only: the filter must not outlive it in another task
        warnings.simplefilter("ignore", MCPDeprecationWarning)  # deprecated in 2026-07-28, alive before
        sending = ctx.session.send_log_message(level, data, "conformance", ctx.request_id)
    await sending


async def with_logging(ctx: Context[Any]) -> str:
    """Send three log messages, one after the other."""
    await logged(ctx, "info", "Tool execution started")
    await anyio.sleep(BEAT)
    await logged(ctx, "info", "Tool processing data")
    await anyio.sleep(BEAT)
    await logged(ctx, "info", "Tool execution completed")
    return "Tool with logging executed successfully"


async def logging_tool(ctx: Context[Any]) -> str:
    """Send a log message, which a client of 2026-07-28 hears only if its request states a level."""
    await logged(ctx, "info", "This is a log message of test_logging_tool")
    return "Logging tool executed"


async def with_progress(ctx: Context[Any]) -> str:
    """Report progress: none, half, all."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"Completed step {done} of 100")
        await anyio.sleep(BEAT)
    return "Tool with progress executed successfully"


async def reconnection(ctx: Context[Any]) -> str:
    """Close the stream of this call before it is answered; a client that comes back finds the answer (SEP-1699)."""
    await ctx.close_sse_stream()
    await anyio.sleep(AWAY)
    return "Reconnection test completed successfully. If you received this, the client properly reconnected."


TOOLS = (
    Fixture(with_logging, "test_tool_with_logging"),
    Fixture(logging_tool, "test_logging_tool"),
    Fixture(with_progress, "test_tool_with_progress"),
    Fixture(reconnection, "test_reconnection"),
)
