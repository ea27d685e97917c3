"""Log messages that belong to a call, at every level."""

from __future__ import annotations

import warnings
from typing import Any, get_args

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import LoggingLevel

from switchboard.everything.declared import PURE, Declared

LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
"""From the least severe to the most (RFC 5424)."""

LOGGER = "everything"


async def log_every_level(ctx: Context[Any]) -> str:
    """Send one log message at each of the eight levels; those below the level that the client set do not arrive."""
    for level in LEVELS:
        with warnings.catch_warnings():  # around the call only: the filter must not outlive it in another task
            warnings.simplefilter("ignore", MCPDeprecationWarning)  # deprecated in 2026-07-28, alive before
            sending = ctx.session.send_log_message(level, f"A message at level {level}", LOGGER, ctx.request_id)
        await sending
    return f"Sent {len(LEVELS)} log messages, from {LEVELS[0]} to {LEVELS[-1]}."


TOOLS = (Declared(log_every_level, "logEveryLevel", "Log at every level", PURE),)
