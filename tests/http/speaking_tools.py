"""A plugin whose tools do with their context what tools can do with it; for tests that send each call on two ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from mcp_types import ClientCapabilities, RootsCapability
from pydantic import BaseModel

from switchboard.plugins import Plugin
from switchboard.sessions.client_channel import connection_of
from tests.http.odd_tools import waits

Speaking = Context[Any, Any]


class Answer(BaseModel):
    word: str


async def tells(ctx: Speaking, n: int = 0) -> dict[str, Any]:
    """What a context says of its request."""
    request, session = ctx.request_context, ctx.session
    return {
        "n": n,
        "id": ctx.request_id,
        "method": request.method,
        "params": dict(request.params or {}),
        "meta": dict(request.meta or {}),
        "version": [ctx.protocol_version, request.protocol_version, session.protocol_version],
        "client": session.client_params.model_dump(mode="json") if session.client_params else None,
        "capabilities": ctx.client_capabilities.model_dump(mode="json") if ctx.client_capabilities else None,
        "roots": session.check_client_capability(ClientCapabilities(roots=RootsCapability())),
        "asked": [ctx.input_responses is None, ctx.request_state],
        "lifespan": request.lifespan_context,
        "header": (ctx.headers or {}).get("x-test"),
        "path": request.request.url.path if request.request else None,
        "can ask": session.can_send_request,
        "closes": [request.close_sse_stream is None, request.close_standalone_sse_stream is None],
    }


async def reports(ctx: Speaking, steps: int = 2) -> str:
    for step in range(steps):
        await ctx.report_progress(step, steps if step else None, f"é {step}" if step else None)
    return "reported"


async def tells_and_fails(ctx: Speaking) -> str:
    await ctx.report_progress(1)
    raise ToolError("no: https://errors.pydantic.dev/2/v/missing")


async def tells_and_crashes(ctx: Speaking) -> str:
    await ctx.report_progress(1)
    raise RuntimeError("a secret")


async def tells_and_refuses(ctx: Speaking, code: int = -32050) -> str:
    await ctx.report_progress(1)
    raise MCPError(code, "mine", {"a": 1})


async def fails(ctx: Speaking) -> str:
    raise ToolError(f"no {ctx.request_id}")


async def refuses_at_once(ctx: Speaking, code: int = -32602) -> str:
    raise MCPError(code, f"mine {ctx.request_id}", {"a": 1})


async def elicits(ctx: Speaking) -> str:
    answer = await ctx.elicit("Which word?", Answer)
    return answer.model_dump_json()


async def pings(ctx: Speaking) -> str:
    await ctx.session.send_ping()
    return "there"


async def notifies(ctx: Speaking, uri: str = "odd://given/1") -> str:
    """Says something that belongs to no request."""
    await ctx.session.send_resource_updated(uri)
    await ctx.notify_resource_updated(uri)
    return "notified"


CLOSED: list[str] = []
"""Calls whose connection was closed."""


async def leaves_something(ctx: Speaking) -> str:
    """Has something to be closed when its request ends."""
    stack = connection_of(ctx.request_context).exit_stack
    stack.callback(CLOSED.append, ctx.request_id)
    return "left"


async def reads(ctx: Speaking) -> str:
    contents = list(await ctx.read_resource("speaking://one"))
    return str(contents[0].content)


async def closes(ctx: Speaking) -> str:
    """Lets the client poll."""
    await ctx.report_progress(1)
    await ctx.close_sse_stream()
    return "closed"


async def waits_with_context(gate: str, ctx: Speaking) -> str:
    return f"{await waits(gate)} {ctx.request_id}"


async def word(ctx: Speaking) -> Answer | Elicit[Answer]:
    return Elicit("Which word?", Answer)


async def resolved(answer: Annotated[Answer, Resolve(word)]) -> str:
    return answer.word


SILENT = (leaves_something, tells, fails, refuses_at_once, reads, notifies)
SPEAKING = (reports, tells_and_fails, tells_and_crashes, tells_and_refuses)
OTHERS = (elicits, pings, closes, waits_with_context, resolved)


def plugin(_config: Mapping[str, object]) -> Plugin:
    @asynccontextmanager
    async def lifespan(_server: object) -> AsyncIterator[dict[str, Any]]:
        yield {"a": "lifespan"}

    server: MCPServer[Any] = MCPServer("speaking", lifespan=lifespan)
    for tool in (*SILENT, *SPEAKING, *OTHERS):
        server.add_tool(tool)
    server.resource("speaking://one", name="one")(lambda: "one")
    return Plugin("speaking", "1", server)
