"""Where a round's notifications go: into the answer being streamed here, or to the worker that streams it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.transport_context import TransportContext


class Channel(Protocol):
    """The client's end of one round."""

    lost: bool
    """Whether whoever waits at the other end vanished without leaving (its worker died)."""

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send a notification; best effort."""
        ...

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress under the progress token of this round's request, if it has one."""
        ...


class Here:
    """The client of this round is connected to this worker."""

    lost = False

    def __init__(self, outbound: DispatchContext[TransportContext]) -> None:
        self._outbound = outbound

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        await self._outbound.notify(method, params)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await self._outbound.progress(progress, total, message)


class There:
    """The client of this round is connected to another worker, which relays."""

    def __init__(self, send: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self.lost = False

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        await self._send({"kind": "notify", "method": method, "params": params})

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await self._send({"kind": "progress", "progress": [progress, total, message]})


async def relay(frame: Mapping[str, Any], channel: Channel) -> None:
    """Give a frame that a `There` sent to the channel of the client."""
    if frame["kind"] == "progress":
        await channel.progress(*frame["progress"])
    elif frame["kind"] == "notify":
        await channel.notify(frame["method"], frame["params"])


def request_outbound(session: ServerSession) -> DispatchContext[TransportContext]:
    """The dispatch context under a session. The SDK has no public name for it; this is the one place that reaches."""
    return session._request_outbound


def connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    """The connection under a session. The SDK has no public name for it; this is the one place that reaches."""
    return ctx.session._connection
