"""The context of a handler that outlives its request, because its call was parked or became a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import anyio
from mcp.server.connection import Connection
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import CallOptions, Outbound
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import LOG_LEVEL_META_KEY, RequestId, RequestParamsMeta
from pydantic import BaseModel

from switchboard.protocol.direct_requests import changed
from switchboard.sessions.client_channel import connection_of, request_outbound
from switchboard.sessions.client_requests import Terms


class DetachedCall(Protocol):
    """The call that outlives its request: parked, or a task."""

    connection: Connection | None

    @property
    def terms(self) -> Terms:
        """What the client declared with its last request."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the handler has ended."""
        ...

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout: float | None) -> dict[str, Any]:
        """Ask the client, and wait for its answer."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send the client a notification, if one of its requests is being answered."""
        ...

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress, if one of its requests is being answered."""
        ...


class DetachedContext:
    """A `DispatchContext` that outlives its request: what it sends goes with the current round of its call."""

    def __init__(self, call: DetachedCall, ctx: ServerRequestContext[Any, Any]) -> None:
        original = request_outbound(ctx.session)
        self._call = call
        self._original = original
        self.request_id: RequestId | None = original.request_id
        self.message_metadata: MessageMetadata = original.message_metadata

    @property
    def transport(self) -> TransportContext:
        """As the request came, but that its client can be asked."""
        return replace(self._original.transport, can_send_request=True)

    @property
    def cancel_requested(self) -> anyio.Event:
        """The request's."""
        return self._original.cancel_requested

    @property
    def can_send_request(self) -> bool:
        """Whether the client can still be asked."""
        return not self._call.closed

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client with the next round."""
        return await self._call.ask(method, params, (opts or {}).get("timeout"))

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification with the current round; progress takes that round's token."""
        if method == "notifications/progress" and params and "progress" in params:
            await self.progress(params["progress"], params.get("total"), params.get("message"))
        else:
            await self._call.notify(method, params)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress of the current round."""
        await self._call.progress(progress, total, message)


class _Standalone:
    """The outbound of the connection: questions go with the call, notifications where they went before."""

    def __init__(self, detached: DetachedContext, original: Outbound) -> None:
        self.send_raw_request = detached.send_raw_request
        self.notify = original.notify


def detached_context(
    call: DetachedCall, ctx: ServerRequestContext[Any, Any]
) -> tuple[ServerRequestContext[Any, Any], Connection]:
    """The context for the handler, and the connection to close when it ended.

    The original connection is closed by its driver when the first round is answered, hence a fresh one. The session
    lets every log level pass: the call itself knows which level the current round wants.
    """
    original = connection_of(ctx)
    detached = DetachedContext(call, ctx)
    connection = call.connection = Connection(
        _Standalone(detached, original.outbound),
        protocol_version=original.protocol_version,
        session_id=original.session_id,
        client_params=original.client_params,
    )
    connection.client_capabilities = call.terms.capabilities
    connection.state = original.state
    connection.initialized.set()
    every_level = cast(RequestParamsMeta, {LOG_LEVEL_META_KEY: "debug"})
    session = ServerSession(detached, connection, request_meta=every_level)
    return changed(ctx, session=session), connection


def as_json(result: HandlerResult) -> dict[str, Any]:
    """A handler's result as JSON."""
    if isinstance(result, BaseModel):
        return result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return dict(result or {})
