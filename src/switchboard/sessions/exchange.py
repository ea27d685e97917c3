"""The exchange: one request of the handshake era while it is served. The SDK's `DispatchContext`, on any worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import anyio
import anyio.lowlevel
import structlog
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, ClientCapabilities, ErrorData, ProgressToken, RequestId

from switchboard.aio import is_being_cancelled
from switchboard.errors import SessionGone, StateUnavailable
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.protocol.direct_requests import PreparedInContext
from switchboard.sessions.patience import state_away, told_to_handlers
from switchboard.sessions.records import wanted
from switchboard.sessions.streams.reply import Reply
from switchboard.sessions.streams.standalone import StandaloneWriter

log = structlog.get_logger("switchboard.sessions")

CANCELLED: Final = ErrorData(code=-32800, message="Request cancelled")
"""What is answered to a request that ended because its reply was lost."""

LEAVING: Final = ErrorData(
    code=INTERNAL_ERROR,
    message="The worker shut down before this request was done. It may have taken effect; repeat it only if that is "
    "harmless.",
    data={"reason": "worker_left", "retry": "if_idempotent"},
)
SESSION_ENDED: Final = "The session ended"
TRANSPORT: Final = TransportContext(kind="streamable-http", can_send_request=True)


class Exchange:
    """Serves one request and carries its progress, its log messages and its questions to the client.

    Satisfies `mcp.shared.dispatcher.DispatchContext`. Everything goes out on the reply's stream, where the client
    expects what belongs to its request; only connection-wide notifications go to the standalone stream.
    """

    def __init__(
        self,
        reply: Reply,
        outlet: StandaloneWriter,
        message: dict[str, Any],
        headers: Any,
        prepared: PreparedInContext | None = None,
    ) -> None:
        self.method: str = message["method"]
        self.params: dict[str, Any] | None = message.get("params")
        self.request_id: RequestId = message["id"]
        self.transport = TRANSPORT
        self.cancel_requested = anyio.Event()
        self.message_metadata: MessageMetadata = ServerMessageMetadata(
            request_context=headers, close_sse_stream=self._close_stream
        )
        self._reply = reply
        self._outlet = outlet
        self._prepared = prepared
        self._token = progress_token_from_params(self.params)
        self._scope = anyio.CancelScope()
        self._closed = False
        self._ended_by: ErrorData | None = None

    @property
    def can_send_request(self) -> bool:
        """Whether the client can still be asked something for this request."""
        return not self._closed

    async def serve(self, server: Server[Any], lifespan_state: Any) -> None:
        """Run the request to its end and hand the response to the reply.

        A request that its client cancelled gets no response: 2025-11-25 basic/utilities/cancellation, "Behavior
        Requirements".
        """
        outcome: dict[str, Any] | None = None
        with self._scope:
            outcome = await self._outcome(server, lifespan_state)
        self._closed = True
        if outcome is None and self._ended_by is not None:
            outcome = error_response(self.request_id, self._ended_by)
        try:
            await self._reply.finish(self.request_id, outcome)
        except (SessionGone, StateUnavailable) as error:
            log.warning("exchange.unanswered", method=self.method, reason=type(error).__name__)

    async def finished(self, prepared: PreparedInContext, lifespan_state: Any) -> dict[str, Any]:
        """Serve what is left of a request that was begun without an exchange, in the task where it was; its result."""
        try:
            return await prepared.serve(self, self.connection(), lifespan_state)
        finally:
            self._closed = True

    def cancel(self, answer: ErrorData | None = None) -> None:
        """End the request: with `answer` when this worker cannot finish it, without when its client cancelled it."""
        self._ended_by = answer
        self.cancel_requested.set()
        self._scope.cancel()

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification on this request's stream, unless the client wants no log message of its level."""
        if self._closed or not wanted(self._reply.record.level, method, params):
            return
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        with told_to_handlers():
            try:
                await self._reply.emit(message)
            except SessionGone:  # the request is being cancelled: nobody hears it any more
                await anyio.lowlevel.checkpoint()

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress if the client asked for it."""
        if self._token is None:
            return
        await self.notify("notifications/progress", progress_params(self._token, progress, total, message))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client something and wait for the answer.

        Raises:
            MCPError: the client declared no such capability, answered with an error, or did not answer in time.
        """
        require_capability(self._reply.record.client_params.capabilities, method, params)
        with told_to_handlers():
            try:
                return await self._reply.ask(method, params, (opts or {}).get("timeout"))
            except SessionGone:
                await anyio.lowlevel.checkpoint()  # the request is being cancelled
                raise MCPError(INTERNAL_ERROR, SESSION_ENDED) from None

    def connection(self) -> Connection:
        """The client's connection, rebuilt from the record."""
        record = self._reply.record
        connection = Connection(
            StandaloneOutbound(self, self._outlet),
            protocol_version=record.protocol_version,
            session_id=record.sid,
            client_params=record.client_params,
        )
        connection.initialized.set()
        return connection

    async def _outcome(self, server: Server[Any], lifespan_state: Any) -> dict[str, Any]:
        connection = self.connection()
        if self._prepared is not None:
            work = self._prepared.serve(self, connection, lifespan_state)
        else:
            work = serve_one(
                server, self, self.method, self.params, connection=connection, lifespan_state=lifespan_state
            )
        return await response(self.request_id, self.method, work)

    async def _close_stream(self) -> None:
        """Let the client poll: end this POST's stream, go on, and be resumed by `Last-Event-ID` (SEP-1699)."""
        await self._reply.commit()
        self._reply.detach()


def progress_params(token: ProgressToken, progress: float, total: float | None, message: str | None) -> dict[str, Any]:
    """The parameters of `notifications/progress`."""
    optional = {"total": total, "message": message}
    return {"progressToken": token, "progress": progress} | {
        name: value for name, value in optional.items() if value is not None
    }


async def response(request: RequestId, method: str, work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """The response to a request: the result of the work, or the error for what it raises."""
    try:
        result = await work
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        return error_response(request, CANCELLED)
    except SessionGone:
        return error_response(request, ErrorData(code=INTERNAL_ERROR, message=SESSION_ENDED))
    except StateUnavailable as error:
        return error_response(request, state_away(error, begun=True).error)
    except Exception as error:  # the handler boundary: whatever a handler raises becomes its request's answer
        return error_response(request, _error_data(method, error))
    return {"jsonrpc": "2.0", "id": request, "result": result}


def error_response(request: RequestId, error: ErrorData) -> dict[str, Any]:
    """The response that says so."""
    return {"jsonrpc": "2.0", "id": request, "error": error.model_dump(mode="json", by_alias=True, exclude_none=True)}


def _error_data(method: str, error: Exception) -> ErrorData:
    known = handler_exception_to_error_data(error)
    if known is None:
        log.exception("exchange.handler_failed", method=method)
        return ErrorData(code=INTERNAL_ERROR, message="Internal server error")
    return known


class StandaloneOutbound:
    """The connection-wide channel: questions go with the request, notifications to the standalone stream."""

    def __init__(self, exchange: Exchange, outlet: StandaloneWriter) -> None:
        self._exchange = exchange
        self._outlet = outlet

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask on the request's own stream: a client without a standalone stream can answer there too."""
        return await self._exchange.send_raw_request(method, params, opts)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification that belongs to no request."""
        with told_to_handlers():
            await self._outlet.say(method, params)


def require_capability(declared: ClientCapabilities, method: str, params: Mapping[str, Any] | None) -> None:
    """Refuse a question that the client never said it can answer, instead of waiting for ever.

    Raises:
        MCPError: names the missing capability.
    """
    request = CLIENT_REQUESTS.get(method)
    if request is not None and not (needed := request.capability(params or {})).declared_by(declared):
        message = f"The client has not declared the {needed.name!r} capability, needed for {method}"
        raise MCPError(INTERNAL_ERROR, message)
