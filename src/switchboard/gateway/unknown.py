"""Members of a backend's result that no version knows: put back after the kernel wrote the result."""

from __future__ import annotations

from mcp.server.context import CallNext, HandlerResult

from switchboard import unknown_members
from switchboard.gateway.source import Context


async def put_back(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Serve a request, and add what its backend said beyond the protocol."""
    with unknown_members.noting() as noted:
        result = await call_next(ctx)
    return {**noted, **result} if noted and isinstance(result, dict) else result
