"""Requests of the modern era that could not be served because Redis is away, told from those that went wrong.

The SDK turns every error of a handler into an answer with status 200. What needs Redis and could not have it is to be
repeated, and proxies and clients know that by 503: the request is marked, and the edge answers with that status.
"""

from __future__ import annotations

from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.errors import StateUnavailable
from switchboard.sessions.patience import state_away

UNAVAILABLE: Final = "switchboard.unavailable"
"""Set in the scope of a request that is to be answered 503."""


async def marking(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The outermost middleware of the gateway's server."""
    try:
        return await call_next(ctx)
    except StateUnavailable as error:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise  # the exchange words it
        scope = getattr(ctx.request, "scope", None)
        if isinstance(scope, dict):
            scope[UNAVAILABLE] = True
        raise state_away(error, begun=False) from error
