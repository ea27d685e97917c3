"""What the handler of a modern request speaks to its client through, where the SDK's entry does not serve it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final

import anyio
from mcp.server._streamable_http_modern import _sse_event
from mcp.server.connection import _NO_CHANNEL, Connection
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    ClientCapabilities,
    InitializeRequestParams,
    JSONRPCNotification,
    RequestId,
)
from starlette.requests import Request

from switchboard.common import strict_json
from switchboard.sessions.exchange import progress_params

Say = Callable[[bytes], Awaitable[None]]
"""Sends an event on the response's stream, which it begins; what comes after the response is dropped."""

CLIENTS: Final = 1024
LONGEST_CLIENT: Final = 2_048
"""What clients say of themselves that is kept as the SDK read it, and the bytes of the longest: they repeat it with
each request."""

_KIND: Final = "streamable-http"

_clients: dict[tuple[str, bytes], tuple[InitializeRequestParams | None, ClientCapabilities | None]] = {}
"""By version and the very bytes of what is said."""


class ModernContext:
    """Carries a handler's notifications to its client. Satisfies `mcp.shared.dispatcher.DispatchContext`.

    Args:
        request: the HTTP request.
        message: the request in it, whose envelope has been checked.
    """

    can_send_request = False

    def __init__(self, request: Request, message: dict[str, Any], say: Say) -> None:
        self._request = request
        self.request_id: RequestId = message["id"]
        self.message_metadata: MessageMetadata = ServerMessageMetadata(request_context=request)
        self._params: dict[str, Any] = message["params"]
        self._token = progress_token_from_params(self._params)
        self._say = say

    @property
    def transport(self) -> TransportContext:
        """What is known of the way the request came."""
        return TransportContext(kind=_KIND, can_send_request=False, headers=self._request.headers)

    @cached_property
    def cancel_requested(self) -> anyio.Event:
        """Never set: who cancels such a request leaves, and its task is cancelled."""
        return anyio.Event()

    def connection(self) -> Connection:
        """The client's connection, as the envelope of its request describes it."""
        meta = self._params["_meta"]
        version = meta[PROTOCOL_VERSION_META_KEY]
        client, declared = meta.get(CLIENT_INFO_META_KEY), meta.get(CLIENT_CAPABILITIES_META_KEY)
        said = version, strict_json.written([client, declared])
        known = _clients.get(said)
        if known is None:
            connection = Connection.from_envelope(version, client, declared)
            if len(said[1]) <= LONGEST_CLIENT:
                if len(_clients) >= CLIENTS:
                    _clients.clear()
                _clients[said] = connection.client_params, connection.client_capabilities
            return connection
        connection = Connection(_NO_CHANNEL, protocol_version=version, client_params=known[0])
        connection.client_capabilities = known[1]
        connection.initialized.set()
        return connection

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refuse: in this era nobody is asked while a request runs."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification before the response."""
        body = None if params is None else dict(params)
        await self._say(_sse_event(JSONRPCNotification(jsonrpc="2.0", method=method, params=body)))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress if the client asked for it."""
        if self._token is None:
            return
        await self.notify("notifications/progress", progress_params(self._token, progress, total, message))
