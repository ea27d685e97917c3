"""A lowlevel server whose tools, prompt and resource ask the client, one round after the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import mcp_types as types
from mcp.server import MCPServer
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from switchboard.identity import current
from switchboard.sessions.parking import Parking

KEY = "k" * 40


class Name(BaseModel):
    """What the tools ask for."""

    name: str


class Gates:
    """Where a test meets a handler in mid-flight."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.closed = asyncio.Event()
        self.calls = 0
        self.refused: MCPError | None = None
        self.left: asyncio.Task[None] | None = None

    async def hold(self) -> None:
        """Say that one is here, and wait; tell of a cancellation."""
        self.entered.set()
        try:
            await asyncio.wait_for(self.release.wait(), 60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def name(ctx: Context[Any, Any], question: str) -> str:
    """Ask for a name by a form."""
    answer = await ctx.elicit(question, schema=Name)
    return answer.data.name if answer.action == "accept" else answer.action


class Tools:
    """Tools that ask in every way there is."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    def server(self) -> MCPServer[Any]:
        """All of them as a server."""
        server = MCPServer("tools")
        for tool in vars(Tools):
            if not tool.startswith("_") and tool != "server":
                server.add_tool(getattr(self, tool))
        return server

    async def echo(self, text: str) -> str:
        return text

    async def fail(self) -> str:
        raise ValueError("deliberately")

    async def ask_and_fail(self, ctx: Context[Any, Any]) -> str:
        raise MCPError(-32001, f"failed for {await name(ctx, 'x')}", {"why": "deliberately"})

    async def linger(self, ctx: Context[Any, Any]) -> str:
        async def late() -> None:
            await self.gates.release.wait()
            try:
                await name(ctx, "too late")
            except MCPError as error:
                self.gates.refused = error
            self.gates.closed.set()

        self.gates.left = asyncio.create_task(late())
        return "done"

    async def twice(self, ctx: Context[Any, Any]) -> str:
        self.gates.calls += 1
        return f"{await name(ctx, 'first')} {await name(ctx, 'second')} for {current().principal.subject}"

    async def both(self, ctx: Context[Any, Any]) -> str:
        return " ".join(await asyncio.gather(name(ctx, "left"), name(ctx, "right")))

    async def crowd(self, ctx: Context[Any, Any], count: int) -> str:
        """Ask so many things at once."""
        return " ".join(await asyncio.gather(*(name(ctx, str(number)) for number in range(count))))

    async def url(self, ctx: Context[Any, Any]) -> str:
        return (await ctx.elicit_url("look", "https://example.com/", "e1")).action

    async def sample(self, ctx: Context[Any, Any]) -> str:
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="q"))
        result: Any = await ctx.session.create_message([message], max_tokens=5)
        return str(result.content.text)

    async def roots(self, ctx: Context[Any, Any]) -> str:
        return " ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)

    async def chatty(self, ctx: Context[Any, Any]) -> str:
        await ctx.report_progress(1, 3, "before")
        await ctx.info("before")
        answer = await name(ctx, "x")
        await ctx.report_progress(2, 3, "after")
        await ctx.debug("fine")
        await ctx.warning("coarse")
        return answer

    async def hold(self, ctx: Context[Any, Any]) -> str:
        answer = await name(ctx, "x")
        await self.gates.hold()
        return f"held {answer}"

    async def hold_first(self, ctx: Context[Any, Any]) -> str:
        await self.gates.hold()
        return await name(ctx, "x")

    async def impatient(self, ctx: Context[Any, Any]) -> str:
        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message="x", requested_schema={"type": "object", "properties": {}})
        )
        await ctx.session.send_request(request, types.ElicitResult, request_read_timeout_seconds=0)
        return "never"

    async def impatient_then(self, ctx: Context[Any, Any]) -> str:
        """Ask, wait for no time at all, and ask something else in the same round."""
        with suppress(MCPError):
            await self.impatient(ctx)
        return await name(ctx, "second")

    async def pinging(self, ctx: Context[Any, Any]) -> str:
        await ctx.session.send_ping()
        return "never"

    async def tidy(self, ctx: Context[Any, Any]) -> str:
        ctx.session._connection.exit_stack.callback(self.gates.closed.set)
        await name(ctx, "x")
        return f"closed early: {self.gates.closed.is_set()}"


async def own_rounds(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult | types.InputRequiredResult:
    """A handler that drives its rounds itself, with a state that looks like one of ours."""
    if params.request_state is None:
        ask = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message="own", requested_schema={"type": "object", "properties": {}})
        )
        return types.InputRequiredResult(input_requests={"mine": ask}, request_state='{"park": "me"}')
    answers = sorted(params.input_responses or {})
    return types.CallToolResult(content=[types.TextContent(type="text", text=f"{params.request_state} {answers}")])


async def prompt(ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """A prompt that asks."""
    answer = await ctx.session.elicit_form("prompt", {"type": "object", "properties": {}}, ctx.request_id)
    text = types.TextContent(type="text", text=answer.action)
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])


async def resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """A resource that asks, on the connection's own channel."""
    answer = await ctx.session.elicit_form("resource", {"type": "object", "properties": {}})
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text=answer.action)])


def gateway(parking: Parking, gates: Gates) -> Server[Any]:
    """A server as the gateway makes it: the SDK's boundary, then parking, then handlers in the process."""
    tools: Any = Tools(gates).server()._lowlevel_server

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
        if params.name == "own":
            return await own_rounds(ctx, params)
        return await tools.get_request_handler("tools/call").handler(ctx, params)

    async def list_tools(ctx: Any, params: Any) -> Any:
        return await tools.get_request_handler("tools/list").handler(ctx, params)

    server: Server[Any] = Server(
        "gateway", on_call_tool=call_tool, on_list_tools=list_tools, on_get_prompt=prompt, on_read_resource=resource
    )
    security = RequestStateSecurity(keys=[KEY], bind_principal=lambda _: current().principal.owner)
    server.middleware += [RequestStateBoundary(security, default_audience="gateway"), parking]
    return server
