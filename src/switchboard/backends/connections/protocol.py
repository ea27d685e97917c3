"""One open connection to a backend: JSON-RPC both ways, in whichever era the backend speaks.

The SDK's `ClientSession` agrees on the era. Everything else goes as it is, as dictionaries: what a newer backend says
that this version does not know is for the client to read or ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import anyio
import anyio.abc
from mcp.shared.dispatcher import (
    CallOptions,
    DispatchContext,
    Dispatcher,
    OnNotify,
    OnNotifyIntercept,
    OnRequest,
    ProgressFnT,
    coerce_request_id,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_PROTOCOL_VERSION_HEADER,
)
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    Implementation,
    RequestId,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.backends.caller import Params
from switchboard.backends.connections.empty_objects import HANDSHAKE_RESULT, PARAMS, RESULT, with_objects
from switchboard.backends.connections.leniency import introduced, is_of_texts
from switchboard.backends.connections.notification_order import NotificationOrder
from switchboard.backends.envelope import HeaderMap, own_meta, routing_headers
from switchboard.protocol import request_spans
from switchboard.telemetry import spans

CLOSED: Final = "Connection closed"
"""The SDK's error to every open request when a connection ends; over HTTP it says more when one request alone ended."""

CUT_SHORT: Final = "SSE stream "
"""How the SDK's error begins for an answer that will not come."""

STREAMED: Final = frozenset({"initialize", "subscriptions/listen"})
"""Requests that go over the transport's streams: it takes the session from the first, and the other's answer is one."""

DIRECT_OPTIONS: Final = frozenset({"headers", "request_id"})
"""Options of a request that can go beside them."""

CANCELLED: Final = "notifications/cancelled"
"""It may come late: what follows it does not depend on it."""

CANCEL_S: Final = 5.0
"""How long a cancellation may take to be sent."""


class Inbound(Protocol):
    """Takes what the backend sends by itself."""

    async def on_request(self, method: str, params: Params | None) -> dict[str, Any]:
        """Answer a request of the backend's."""
        ...

    async def on_notification(self, method: str, params: Params | None) -> None:
        """Take a notification."""
        ...

    def on_unreadable(self, error: Exception) -> None:
        """Something came that is no message."""
        ...


class DirectRequests(Protocol):
    """Sends requests without the transport's streams, where their answers allow it."""

    async def send(
        self, method: str, params: Params | None, number: RequestId, headers: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """The result; `None` if the request is to go over the streams, which get what has come for it already."""
        ...

    async def settled(self, number: RequestId) -> None:
        """The request is over, however it went."""
        ...

    def close(self) -> None:
        """Whoever waits gets no answer."""
        ...


class RpcConnection:
    """A dispatcher with our own request ids, and our own handling of what the backend sends.

    Satisfies `mcp.shared.dispatcher.Dispatcher`, as what it is made of does.

    Args:
        dispatcher: of the transport.
        next_id: a request id that no other worker in the same session of the backend uses.
        declared: the client capabilities to declare.
        direct: sends requests beside the streams, where there is such a way.
    """

    def __init__(
        self,
        dispatcher: Dispatcher[Any],
        inbound: Inbound,
        next_id: Callable[[], int],
        declared: Params,
        info: Implementation,
        on_end: Callable[[], None],
        direct: DirectRequests | None = None,
    ) -> None:
        self._on_end = on_end
        self._inner = dispatcher
        self._direct = direct
        self._running = False
        self._notified = self._arrived = 0
        """Notifications sent, and those that have arrived; until all have, requests go behind them over the streams."""
        self._inbound = inbound
        self._next_id = next_id
        self._declared = dict(declared)
        self._info = info.model_dump(by_alias=True, mode="json", exclude_none=True)
        self._progress: dict[Any, ProgressFnT] = {}
        self._order = NotificationOrder()
        self.version = ""

    @property
    def modern(self) -> bool:
        """Whether the backend speaks the era without sessions."""
        return self.version in MODERN_PROTOCOL_VERSIONS

    async def request(
        self,
        method: str,
        params: Params | None,
        *,
        declared: Params | None = None,
        level: str | None = None,
        on_progress: ProgressFnT | None = None,
        headers: HeaderMap | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its result, however long it takes.

        Args:
            declared: what the caller's client can be asked, for an era that says so with each request.
            level: which log messages to ask for, in an era that says so with each request and unless the client did.
            headers: argument path → token, for arguments that are mirrored into HTTP headers.

        Raises:
            MCPError: the backend's error, or CONNECTION_CLOSED.
        """
        body = dict(params or {})
        meta = own_meta(body.pop("_meta", None), modern=self.modern)
        opts: CallOptions = {"headers": {MCP_PROTOCOL_VERSION_HEADER: self.version}}
        if self.modern:
            meta |= {
                PROTOCOL_VERSION_META_KEY: self.version,
                CLIENT_INFO_META_KEY: self._info,
                CLIENT_CAPABILITIES_META_KEY: dict(declared or {}),
            }
            if level is not None:
                meta.setdefault(LOG_LEVEL_META_KEY, level)
            opts["headers"] |= routing_headers(method, body, headers)
        token = opts["request_id"] = self._next_id()
        if on_progress is not None:
            meta["progressToken"] = token
            self._progress[token] = on_progress
        if meta:
            body["_meta"] = meta
        try:
            result = await self.send_raw_request(method, body, opts)
            await self._order.all_before_now(token)
        finally:
            self._progress.pop(token, None)
        return result

    # -- the dispatcher that a ClientSession stands on ----------------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Params | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send under an id of ours."""
        named: CallOptions = {**(opts or {})}
        if "request_id" not in named:
            named["request_id"] = self._next_id()
        if spans.on() and "headers" in named:
            named["headers"] = {**(named["headers"] or {}), **spans.carried()}
        if self._direct is None or not self._running or method in STREAMED or not named.keys() <= DIRECT_OPTIONS:
            result = await self._inner.send_raw_request(method, self._declaring(method, params), named)
        elif self._arrived < (notified := self._notified):
            result = await self._inner.send_raw_request(method, params, named)
            self._arrived = max(self._arrived, notified)
        else:
            result = await self._sent_within_span(self._direct, method, params, named)
        if method == "tools/call" and is_of_texts(result):
            return result
        repaired: dict[str, Any] = with_objects(result, RESULT if self.modern else HANDSHAKE_RESULT)
        return introduced(repaired) if method == "initialize" else repaired

    async def _sent_within_span(
        self, direct: DirectRequests, method: str, params: Params | None, opts: CallOptions
    ) -> dict[str, Any]:
        span = request_spans.sent(method, params, opts["request_id"])
        if span is None:
            params = request_spans.with_context(params) if spans.on() else params
            return await self._sent_directly(direct, method, params, opts)
        with span:
            headers = {**(opts.get("headers") or {}), **spans.carried()}
            return await self._sent_directly(
                direct, method, request_spans.with_context(params), {**opts, "headers": headers}
            )

    async def _sent_directly(
        self, direct: DirectRequests, method: str, params: Params | None, opts: CallOptions
    ) -> dict[str, Any]:
        number = opts["request_id"]
        try:
            try:
                result = await direct.send(method, params, number, opts.get("headers") or {})
            except asyncio.CancelledError:
                if not self.modern:  # in the modern era the end of the request's connection says it
                    await self._cancel(number)
                raise
            return await self._inner.send_raw_request(method, params, opts) if result is None else result
        finally:
            await direct.settled(number)

    async def _cancel(self, number: RequestId) -> None:
        """Tell the backend that nobody waits for a request any more, as the SDK does."""
        with anyio.move_on_after(CANCEL_S, shield=True):
            await self.notify(CANCELLED, {"requestId": number, "reason": "caller cancelled"})

    async def notify(self, method: str, params: Params | None, opts: CallOptions | None = None) -> None:
        """Send a notification."""
        named: CallOptions = {**(opts or {})}
        if self._direct is not None and self.version:  # the SDK's transport knows it of requests that it sent itself
            named.setdefault("headers", {MCP_PROTOCOL_VERSION_HEADER: self.version})
        if method != CANCELLED:
            self._notified += 1
        await self._inner.notify(method, params, named)

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receive until the connection ends. What the session would answer by itself is ours to answer."""
        try:

            def intercept(method: str, params: Params | None) -> bool:
                consumed = on_notify_intercept is not None and on_notify_intercept(method, params)
                call = self._call_of(params) if method == "notifications/progress" else None
                return consumed or not self._order.received(call)

            self._running = True
            await self._inner.run(self._on_request, self._on_notify, intercept, task_status=task_status)
        finally:
            self._running = False
            if self._direct is not None:
                self._direct.close()
            self._on_end()

    def _declaring(self, method: str, params: Params | None) -> Params | None:
        if method == "initialize" and params is not None:
            return {**params, "capabilities": self._declared}
        return params

    async def _on_request(
        self, _ctx: DispatchContext[TransportContext], method: str, params: Params | None
    ) -> dict[str, Any]:
        with _contained():
            return await self._inbound.on_request(method, with_objects(params, PARAMS))

    async def _on_notify(self, _ctx: DispatchContext[TransportContext], method: str, params: Params | None) -> None:
        async with self._order.handling():
            params = with_objects(params, PARAMS)
            call = self._call_of(params) if method == "notifications/progress" else None
            reported = None if call is None else self._progress.get(call)
            with _contained():
                if reported is not None:
                    await reported(*_steps(params or {}))
                else:
                    await self._inbound.on_notification(method, params)

    def _call_of(self, params: Params | None) -> RequestId | None:
        """Whose progress it is, if anybody's; a server may write the token that it got as a text."""
        token = (params or {}).get("progressToken")
        call = coerce_request_id(token) if isinstance(token, int | str) else None
        return call if call in self._progress else None


@contextmanager
def _contained() -> Iterator[None]:
    """Turn a cancellation that nobody asked this task for into a failure of what it waited for: it ends nothing else.

    Raises:
        MCPError: it was cancelled.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise MCPError(INTERNAL_ERROR, "The client can no longer be asked or told") from error


def _steps(params: Params) -> tuple[float, float | None, str | None]:
    """Progress, total and message, as far as they are what they should be."""
    progress, total, message = (params.get(name) for name in ("progress", "total", "message"))
    return (
        float(progress) if isinstance(progress, int | float) else 0.0,
        float(total) if isinstance(total, int | float) else None,
        message if isinstance(message, str) else None,
    )


def is_end(error: MCPError) -> bool:
    """Whether the SDK says it, of a connection or of one answer; servers use the same code for errors of their own.

    The TypeScript SDK's, for one, refuses a version that it does not know with it.
    """
    return error.code == CONNECTION_CLOSED and (error.message == CLOSED or error.message.startswith(CUT_SHORT))
