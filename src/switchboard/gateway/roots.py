"""`notifications/roots/list_changed`: a client of the handshake era says that its roots are others now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp_types import NotificationParams

from switchboard.gateway.source import Context
from switchboard.identity import Caller, current

Changed = Callable[[Caller], Awaitable[None]]
"""Is told whose roots changed."""


def row(changed: Changed) -> tuple[str, type[NotificationParams], Callable[[Context, NotificationParams], Any]]:
    """What hears of it: method, parameters and handler."""

    async def told(_ctx: Context, _params: NotificationParams) -> None:
        await changed(current())

    return "notifications/roots/list_changed", NotificationParams, told
