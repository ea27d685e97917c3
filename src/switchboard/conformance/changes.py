"""Tools that make the server announce a change, to clients of both eras on every worker."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context

from switchboard.conformance.fixture import Fixture


async def tools_changed(ctx: Context[Any]) -> str:
    """Announce that the list of tools may have changed."""
    await ctx.notify_tools_changed()
    return "Announced: notifications/tools/list_changed"


async def prompts_changed(ctx: Context[Any]) -> str:
    """Announce that the list of prompts may have changed."""
    await ctx.notify_prompts_changed()
    return "Announced: notifications/prompts/list_changed"


TOOLS = (
    Fixture(tools_changed, "test_trigger_tool_change"),
    Fixture(prompts_changed, "test_trigger_prompt_change"),
)
