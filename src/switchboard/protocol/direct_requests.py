"""Requests that are served directly: without the SDK's kernel, its middleware and its streams.

A leaf between three rooms. Providers say which of their tools can be called so (`DirectTool`), the gateway's fast path
decides which requests are (`Prepared`), and the endpoints of both eras serve those in the task of their own POST. A
request whose handler may speak before its result is a `PreparedInContext`; the exchange of its session serves it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mcp.server.connection import Connection
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.runner import aclose_shielded
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.transport_context import TransportContext
from mcp_types import ClientCapabilities, RequestId


@dataclass(slots=True)  # not frozen: one is made for each call, and freezing would treble what that takes
class ToolCall:
    """The parameters of one `tools/call`, whose shape the protocol's version has been held against."""

    name: str
    """The tool, as its provider calls it."""
    arguments: dict[str, Any]
    """Empty also where the client sent none."""
    meta: Mapping[str, Any]
    """`_meta` as the client sent it."""
    version: str
    """The client's protocol version."""
    capabilities: ClientCapabilities | None = None
    """What the client of its session declared; a modern client says so in `meta`."""
    has_arguments: bool = True
    """Whether the client sent arguments, be they empty."""


@dataclass(slots=True)
class TextResult:
    """The result of a tool that gave a text: what the SDK's `CallToolResult` of one says, without its models."""

    text: str
    """Characters that UTF-8 has, all of them."""
    structured: bool
    """Whether the text is also the structured content, as `result`."""


Work = Callable[[], Awaitable[HandlerResult | TextResult]]
"""Calls a tool, once.

Raises `MCPError` for what is no result, and `NeedsContext` when the tool wants to ask or tell its client something; it
goes on then, and is not called again."""


@dataclass(slots=True)
class WorkInContext:
    """Calls a tool that takes the context of its request; as `Work`, but without `NeedsContext`."""

    call: Callable[[ServerRequestContext[Any, Any]], Awaitable[HandlerResult | TextResult]]


class NeedsContext(Exception):
    """A tool that was called directly is to go on with the context of its request: it asks its client, or tells it.

    Whoever catches it calls either of the two.
    """

    def __init__(
        self, go_on: Callable[[ServerRequestContext[Any, Any]], Awaitable[HandlerResult]], give_up: Callable[[], object]
    ) -> None:
        super().__init__("the tool asks its client, or tells it something")
        self.go_on = go_on
        """Gives the tool the context, and its result; once. Being cancelled cancels the tool."""
        self.give_up = give_up
        """Cancels the tool."""
        self.noted: Any = None
        """What notes the end of the call, for whoever goes on with it."""


class DirectTool(Protocol):
    """A tool that can be called without the SDK's handler, and mostly before there is a context of the request."""

    def prepare(self, call: ToolCall) -> Work | WorkInContext | None:
        """What serves this call; `None` if the provider's handler has to. Nothing has happened then."""
        ...


class Prepared(Protocol):
    """A request that can be served directly."""

    @property
    def id(self) -> RequestId:
        """The request's."""
        ...

    @property
    def method(self) -> str:
        """The request's."""
        ...

    async def run(self) -> dict[str, Any]:
        """Serve it, once; the member `result` of its response.

        Raises:
            Unfinished: there is more to be done in the context of the request.
            MCPError: the error to answer with; any other is the server's fault.
        """
        ...


Serve = Callable[[DispatchContext[TransportContext], Connection, Any], Awaitable[dict[str, Any]]]
"""`(what the handler speaks to its client through, the client's connection, the server's lifespan state)` → the member
`result` of the response. Serves a request, once, as the kernel's `serve_one` does, and closes the connection; raises
`MCPError` for the error to answer with, and any other for the server's fault."""


@dataclass(frozen=True, slots=True)
class PreparedInContext:
    """A request whose handler may speak to its client before the result: served without the kernel's frame alone."""

    serve: Serve


class Unfinished(Exception):
    """The tool was called, but the server's middleware has a part in its end.

    It asks its client or tells it something, or its result asks for more input, which is to be sealed.
    """

    def __init__(self, rest: PreparedInContext) -> None:
        super().__init__("the request is to go on in its context")
        self.rest = rest
        """What is left to be done; it calls the tool no more. To be served at once."""


@dataclass(frozen=True, slots=True)
class KnownResponse:
    """A request whose response is known already."""

    response: bytes
    """The whole of it, as JSON."""


FastRequest = Prepared | PreparedInContext | KnownResponse


class CalledTool(Protocol):
    """The tool that a `tools/call` names, as the catalog has it: looked up once for all that goes by it."""

    @property
    def name(self) -> str:
        """By which clients call it."""
        ...

    @property
    def provider(self) -> str:
        """Whose it is."""
        ...

    @property
    def scopes(self) -> frozenset[str]:
        """What configuration asks of a token for it."""
        ...


class FastPath(Protocol):
    """Serves what can be served without the SDK's kernel."""

    def called(self, message: Any) -> CalledTool | None:
        """The tool that a message calls, if it is a call of one that the catalog has; `None` says nothing."""
        ...

    def prepare(
        self,
        version: str,
        message: Any,
        declared: ClientCapabilities | None = None,
        called: CalledTool | None = None,
    ) -> FastRequest | None:
        """What serves a message of a client that speaks `version`, or `None`; nothing has happened by then.

        Args:
            declared: what the client of its session can do; a modern request says so itself.
            called: what `called` gave for it, if it was asked.
        """
        ...


async def close(connection: Connection) -> None:
    """Close a connection as the kernel does, if a handler left something with it: that is rare, and closing is dear."""
    left: Any = connection.exit_stack
    if left._exit_callbacks:
        await aclose_shielded(connection)


def changed(ctx: ServerRequestContext[Any, Any], **members: Any) -> ServerRequestContext[Any, Any]:
    """A copy of a request's context with some members changed, in a quarter of the time of `dataclasses.replace`."""
    copy = object.__new__(type(ctx))
    vars(copy).update(vars(ctx), **members)
    return copy
