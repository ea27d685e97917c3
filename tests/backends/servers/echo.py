"""A server that returns every header it got, in each of its answers, and remembers all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import Completion
from starlette.requests import Request
from starlette.responses import Response

Headers = Mapping[str, str]
Guard = Callable[[Headers], Response | None]
"""The refusal of a request with these headers; `None` if it is let in."""


@dataclass
class Seen:
    """A request that came, or was refused."""

    http: str
    rpc: str
    headers: dict[str, str]


@dataclass
class Echo:
    """The server.

    Args:
        guard: who is let in.
    """

    guard: Guard = lambda _: None
    seen: list[Seen] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """The arguments of the calls that were served."""

    transport: str = "http"
    scheme: str = "echo"
    """Of its resources."""
    url: str = ""
    """Where it is, once it is served."""

    def server(self) -> MCPServer[Any]:
        """A new one."""
        echo: MCPServer[Any] = MCPServer("echo")

        @echo.tool(structured_output=False)
        def headers(ctx: Context[Any], tag: str = "") -> str:
            self.calls.append(tag)
            return _all(ctx)

        @echo.tool(structured_output=False)
        async def grow(ctx: Context[Any], name: str) -> str:
            echo.add_tool(lambda: "grown", name=name, structured_output=False)
            await ctx.session.send_tool_list_changed()  # who speaks the handshake era hears this
            await ctx.notify_tools_changed()  # and who listens in the modern one, this
            return "grown"

        @echo.resource(f"{self.scheme}:///listed")
        def listed() -> str:
            return "listed"

        @echo.resource(self.scheme + "://{name}")
        def named(ctx: Context[Any], name: str) -> str:
            return _all(ctx)

        @echo.prompt()
        def said(ctx: Context[Any], of: str = "") -> str:
            return _all(ctx)

        @echo.completion()  # type: ignore[no-untyped-call, untyped-decorator]
        async def complete(*_: Any) -> Completion:
            return Completion(values=["all"])

        return echo

    def app(self) -> Any:
        """It over HTTP, both eras; or over HTTP+SSE."""
        server = self.server()
        inner: Any = server.sse_app() if self.transport == "sse" else server.streamable_http_app()

        async def served(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return
            request = Request(scope, receive)
            body = await request.body() if request.method == "POST" else b""
            self.seen.append(Seen(request.method, _method(body), dict(request.headers)))
            refusal = self.guard(request.headers)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
            given = [{"type": "http.request", "body": body, "more_body": False}]

            async def again() -> Any:
                return given.pop() if given else await receive()

            await inner(scope, again if request.method == "POST" else receive, send)

        return served

    def requests(self, *rpc: str) -> list[dict[str, str]]:
        """The headers of those with one of these methods, of JSON-RPC or HTTP; of all, without one."""
        return [each.headers for each in self.seen if not rpc or each.rpc in rpc or each.http in rpc]


def _all(ctx: Context[Any]) -> str:
    request = ctx.request_context.request
    return json.dumps(dict(request.headers) if request is not None else {})


def _method(body: bytes) -> str:
    try:
        return str(json.loads(body).get("method", "answer"))
    except (ValueError, AttributeError):
        return ""
