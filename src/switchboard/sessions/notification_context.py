"""The `DispatchContext` of what needs no reply: notifications, and `initialize`, which may ask nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import RequestId

from switchboard.sessions.patience import told_to_handlers
from switchboard.sessions.records import Record
from switchboard.sessions.streams.standalone import StandaloneWriter
from switchboard.state import State


class NotificationContext:
    """Carries notifications to the standalone stream and refuses questions. Satisfies `DispatchContext`."""

    can_send_request = False

    def __init__(self, request_id: RequestId | None, state: State, sid: str, headers: Any) -> None:
        self.request_id = request_id
        self.transport = TransportContext(kind="streamable-http", can_send_request=False)
        self.message_metadata: MessageMetadata = ServerMessageMetadata(request_context=headers)
        self.cancel_requested = anyio.Event()
        self._outlet = StandaloneWriter(state, sid, None)

    def connection(self, record: Record) -> Connection:
        """The client's connection, rebuilt from the record."""
        connection = Connection(
            self, protocol_version=record.protocol_version, session_id=record.sid, client_params=record.client_params
        )
        connection.initialized.set()
        return connection

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refuse: there is no stream on which the client could be asked."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send to the standalone stream."""
        with told_to_handlers():
            await self._outlet.say(method, params)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """A notification has no progress."""
