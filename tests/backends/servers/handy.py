"""A server with some of everything, for tests: run it for stdio, or take `server()` and serve it over HTTP."""
# ruff: noqa: C901, T201

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp_types import Completion, CreateMessageRequestParams, SamplingMessage, TextContent
from pydantic import BaseModel


class Name(BaseModel):
    name: str


class Sum(BaseModel):
    total: int


async def _ask_name() -> Elicit[Name]:
    return Elicit("Who?", Name)


def server() -> MCPServer[Any]:
    """A new one, with state of its own."""
    handy: MCPServer[Any] = MCPServer("handy", instructions="Be \u202ekind.")
    count = 0

    @handy.tool(description="Says it \x1b[31magain\x1b[0m.")
    def echo(text: str) -> str:
        return text

    @handy.tool(structured_output=True)
    def add(a: int, b: int) -> Sum:
        return Sum(total=a + b)

    @handy.tool(structured_output=False)
    def bump() -> str:
        nonlocal count
        count += 1
        return f"{os.getpid()}:{count}"

    @handy.tool(structured_output=False)
    def session(ctx: Context[Any]) -> str:
        request = ctx.request_context.request
        return str(request.headers.get("mcp-session-id")) if request is not None else str(os.getpid())

    @handy.tool(structured_output=False)
    async def steps(ctx: Context[Any], count: int = 3) -> str:
        for step in range(count):
            await ctx.report_progress(step + 1, count, f"step {step + 1}")
            await ctx.log("warning", f"at {step + 1}")
        return "done"

    @handy.tool(structured_output=False)
    async def ask(ctx: Context[Any], tag: str = "") -> str:
        answer = await ctx.elicit(f"Who? {tag}", Name)
        return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''} {tag}"

    @handy.tool(structured_output=False)
    async def rounds(who: Annotated[Name, Resolve(_ask_name)]) -> str:
        return f"hello {who.name}"

    @handy.tool(structured_output=False)
    async def think(ctx: Context[Any]) -> str:
        message = SamplingMessage(role="user", content=TextContent(type="text", text="2+2"))
        params = CreateMessageRequestParams(messages=[message], max_tokens=9)
        result = await ctx.session.create_message(
            params.messages, max_tokens=params.max_tokens, related_request_id=ctx.request_id
        )
        return str(getattr(result.content, "text", ""))

    @handy.tool(structured_output=False)
    async def roots(ctx: Context[Any]) -> str:
        return " ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)

    @handy.tool(structured_output=False)
    async def hang(ctx: Context[Any], path: str) -> str:
        """Say that it began, and that it was cancelled, in a file."""
        with open(path, "a") as file:  # noqa: ASYNC230
            print("began", file=file, flush=True)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("cancelled", file=file, flush=True)
                raise
        return "late"

    @handy.tool(structured_output=False)
    async def grow(ctx: Context[Any]) -> str:
        handy.add_tool(lambda: "new", name="grown", description="Was not there before.")
        await ctx.session.send_tool_list_changed()  # who speaks the handshake era hears this
        await ctx.notify_tools_changed()  # and who listens in the modern one, this
        return "grown"

    @handy.tool(structured_output=False)
    def fail() -> str:
        raise ValueError("no luck")

    @handy.tool(structured_output=False)
    def die(words: str = "farewell") -> str:
        print(words, file=sys.stderr, flush=True)
        os._exit(3)

    @handy.tool(structured_output=False)
    async def touch(ctx: Context[Any]) -> str:
        await ctx.session.send_resource_updated("handy://note")
        await ctx.notify_resource_updated("handy://note")
        return "touched"

    @handy.resource("handy://note", name="note")
    def note() -> str:
        return "a note"

    @handy.resource("handy://item/{id}", name="item")
    def item(id: str) -> str:
        return f"item {id}"

    @handy.prompt()
    def greet(name: str) -> str:
        return f"Say hello to {name}."

    @handy.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(ref: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=[value for value in ("ada", "alan", "grace") if value.startswith(argument.value)])

    return handy


if __name__ == "__main__":
    asyncio.run(server().run_stdio_async())
