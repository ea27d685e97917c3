"""The client of a round that is connected to this worker, and the SDK's parts under a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.transport_context import TransportContext


class LocalChannel:
    """The client of this round is connected to this worker. Satisfies `fleet.peers.ServedChannel`."""

    lost = False

    def __init__(self, outbound: DispatchContext[TransportContext]) -> None:
        self._outbound = outbound

    async def ask(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Refuse: in this era nobody can be asked while a request runs."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send a notification with this round's answer; best effort."""
        await self._outbound.notify(method, params)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress under the token of this round's request, if it has one."""
        await self._outbound.progress(progress, total, message)


def request_outbound(session: ServerSession) -> DispatchContext[TransportContext]:
    """The dispatch context under a session. The SDK has no public name for it; this is the one place that reaches."""
    return session._request_outbound


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """The connection under a session. The SDK has no public name for it; this is the one place that reaches."""
    return ctx.session._connection
