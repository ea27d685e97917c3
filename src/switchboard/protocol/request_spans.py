"""The span of one MCP request or notification, by OpenTelemetry's conventions for MCP.

https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp/: a request is below the context that its `_meta` brings, and
linked to that of its HTTP request. Where the HTTP request is below that context already, the span is below the HTTP
request's. No arguments, no results, no session ids, no URIs of resources; of an error, its code.

For servers, in place of the SDK's `OpenTelemetryMiddleware`, which tells an error's words, and which a request that is
served directly does not pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.transport_context import TransportContext
from mcp_types import INVALID_PARAMS, RequestId
from opentelemetry import trace
from pydantic import ValidationError

from switchboard.protocol.direct_requests import (
    FastRequest,
    KnownResponse,
    Prepared,
    PreparedInContext,
    Serve,
    Unfinished,
)
from switchboard.protocol.outcomes import TOOL_ERROR, counted, is_error
from switchboard.telemetry import metrics, spans

_NAMES: Final[Mapping[str, str]] = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name"}
"""Method → the attribute for what it names."""


def attributes_of(method: str, params: Mapping[str, Any] | None, number: RequestId | None) -> spans.Attributes:
    """What both ends of a request tell of it."""
    known = metrics.named(method)
    attributes: spans.Attributes = {"mcp.method.name": known}
    if number is not None and len(written := str(number)) <= spans.LONGEST:
        attributes["jsonrpc.request.id"] = written
    member = _NAMES.get(method)
    if member is not None:
        name = (params or {}).get("name")
        if isinstance(name, str) and len(name) <= spans.LONGEST and name.isprintable():
            attributes[member] = name
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    return attributes


def name_of(attributes: spans.Attributes) -> str:
    """The name of a span with these."""
    method = attributes["mcp.method.name"]
    target = attributes.get("gen_ai.tool.name") or attributes.get("gen_ai.prompt.name")
    return f"{method} {target}" if target else str(method)


def sent(method: str, params: Mapping[str, Any] | None, number: RequestId | None) -> spans.ActiveSpan | None:
    """The span of a request to a backend; see `telemetry.spans.client`."""
    if not spans.on() or spans.is_left_out():
        return None
    attributes = attributes_of(method, params, number)
    return spans.client(name_of(attributes), attributes)


def with_context(params: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Parameters whose `_meta` brings the context of this task."""
    carried = spans.carried()
    return {**(params or {}), "_meta": {**((params or {}).get("_meta") or {}), **carried}} if carried else params


def _received(
    method: str, version: str, params: Mapping[str, Any] | None, number: RequestId | None
) -> spans.ActiveSpan | None:
    """The span of a request of a client's; `None` if it is left out."""
    if _is_left_out(params):
        return None
    meta = (params or {}).get("_meta")
    parent = spans.remote(meta) if isinstance(meta, Mapping) else None
    here = spans.current()
    if parent is not None and getattr(trace.get_current_span(), "parent", None) == parent:
        parent = None
    attributes = attributes_of(method, params, number)
    attributes["mcp.protocol.version"] = version
    return spans.server(name_of(attributes), attributes, parent, (here,) if parent and here else ())


def _is_left_out(params: Mapping[str, Any] | None) -> bool:
    """Whether a request has no span, by the trace that it is served in."""
    meta = params.get("_meta") if params else None
    return spans.is_left_out() and (not isinstance(meta, Mapping) or spans.PARENT not in meta)


async def traced(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The server's middleware: a span around a request or notification, whose errors are counted."""
    work = counted(ctx.method, call_next(ctx))
    if not spans.on():
        return await work
    span = _received(ctx.method, ctx.protocol_version, ctx.params, ctx.request_id)
    return await (work if span is None else _told(span, work))


async def _told(span: spans.ActiveSpan, work: Awaitable[Any]) -> Any:
    """The result of some work, within its span."""
    with span:
        try:
            result = await work
        except Unfinished:
            span.keep_open()
            raise
        except ValidationError:  # what the client is told of it
            span.failed(MCPError(INVALID_PARAMS, ""))
            raise
        if is_error(result):
            span.failed(TOOL_ERROR)
        return result


# -- requests that are served directly --------------------------------------------------------------------------------


class _TracedCall:
    """A request within its span, also where it goes on in its context. Satisfies `Prepared`."""

    def __init__(self, prepared: Prepared, begin: Callable[[], spans.ActiveSpan | None]) -> None:
        self._prepared = prepared
        self._begin = begin
        self.id, self.method = prepared.id, prepared.method

    async def run(self) -> dict[str, Any]:
        """See `Prepared`."""
        span = self._begin()
        if span is None:
            return await self._prepared.run()
        try:
            result: dict[str, Any] = await _told(span, self._prepared.run())
        except Unfinished as unfinished:
            raise Unfinished(_in_context(unfinished.rest, lambda: span)) from None
        return result


def _in_context(prepared: PreparedInContext, begin: Callable[[], spans.ActiveSpan | None]) -> PreparedInContext:
    return PreparedInContext(partial(_served, prepared.serve, begin))


async def _served(
    serve: Serve,
    begin: Callable[[], spans.ActiveSpan | None],
    speaker: DispatchContext[TransportContext],
    connection: Connection,
    lifespan_state: Any,
) -> dict[str, Any]:
    span, work = begin(), serve(speaker, connection, lifespan_state)
    result: dict[str, Any] = await (work if span is None else _told(span, work))
    return result


def directly(prepared: FastRequest, version: str, message: Mapping[str, Any]) -> FastRequest:
    """A request that is served directly, within its span."""
    if _is_left_out(message.get("params")):
        return prepared
    begin = partial(_received, message["method"], version, message.get("params"), message["id"])
    if isinstance(prepared, PreparedInContext):
        return _in_context(prepared, begin)
    if not isinstance(prepared, KnownResponse):
        return _TracedCall(prepared, begin)
    span = begin()
    if span is not None:
        span.span.end()
    return prepared
