"""What a client of the handshake era says of its session: `logging/setLevel`, and that its roots are others now.

The level belongs to the session; the modern era states it in each request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, EmptyResult, LoggingLevel, NotificationParams, SetLevelRequestParams

from switchboard.gateway.source import Context, Row
from switchboard.identity import Caller, current

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


RootsChanged = Callable[[Caller], Awaitable[None]]
"""Is told whose roots changed."""


def roots_row(
    changed: RootsChanged,
) -> tuple[str, type[NotificationParams], Callable[[Context, NotificationParams], Any]]:
    """What hears of it: method, parameters and handler."""

    async def told(_ctx: Context, _params: NotificationParams) -> None:
        await changed(current())

    return "notifications/roots/list_changed", NotificationParams, told
