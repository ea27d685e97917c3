"""`logging/setLevel`: the level belongs to the handshake session; the modern era states it in each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, EmptyResult, LoggingLevel, SetLevelRequestParams

from switchboard.gateway.source import Context, Row
from switchboard.identity import current

SetLevel = Callable[[str, LoggingLevel], Awaitable[None]]
"""`(session id, level)`."""


def rows(set_level: SetLevel) -> Iterable[Row]:
    """What serves log levels."""

    async def serve(_ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
        await set_level(session_id(), params.level)
        return EmptyResult()

    # Registered by method: the constructor's argument warns, as clients of the modern era no longer send this.
    yield "logging/setLevel", SetLevelRequestParams, serve


def session_id() -> str:
    """The handshake session of the request being served.

    Raises:
        MCPError: there is none.
    """
    found = current().session_id
    if found is None:
        raise MCPError(INVALID_REQUEST, "This needs a session")
    return found
