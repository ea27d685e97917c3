"""A server with every feature of the protocol once, for the matrix: `versatile.py NAME FOLDER` speaks on stdio.

`server(name, folder)` is the same for HTTP. What it shares with its other processes (a tool that was added, a call that
was cancelled) stands in files in the folder.
"""
# ruff: noqa: C901

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp_types import (
    CallToolResult,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
    Tool,
)
from pydantic import BaseModel


class Name(BaseModel):
    name: str


class Sum(BaseModel):
    total: int


QUESTION = CreateMessageRequestParams(
    messages=[SamplingMessage(role="user", content=TextContent(type="text", text="2+2"))], max_tokens=9
)
PAGE = "https://example.org/sign-in"
ASKED: dict[str, InputRequest] = {
    "form": ElicitRequest(
        params=ElicitRequestFormParams(message="Who?", requested_schema=Name.model_json_schema()),
    ),
    "url": ElicitRequest(params=ElicitRequestURLParams(message="Sign in", url=PAGE, elicitation_id="e1")),
    "sampling": CreateMessageRequest(params=QUESTION),
    "roots": ListRootsRequest(),
}


async def _ask_name() -> Elicit[Name]:
    return Elicit("Who?", Name)


class Growing(MCPServer[Any]):
    """Has a tool for each file in the folder that says so, whichever of its processes wrote it."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, instructions=f"Be kind to {name}.")
        self.folder = folder

    async def list_tools(self) -> list[Tool]:
        grown = sorted(file.stem for file in self.folder.glob("*.tool"))
        return [*await super().list_tools(), *(Tool(name=one, input_schema={"type": "object"}) for one in grown)]


def server(name: str, folder: Path) -> MCPServer[Any]:
    """A new one. Its resources are `NAME://note` and `NAME://item/{id}`."""
    versatile = Growing(name, folder)

    @versatile.tool(structured_output=False)
    def echo(text: str) -> str:
        return text

    @versatile.tool(structured_output=True)
    def add(a: int, b: int) -> Sum:
        return Sum(total=a + b)

    @versatile.tool(structured_output=False)
    def fail() -> str:
        raise ValueError("no luck")

    @versatile.tool(structured_output=False)
    async def steps(ctx: Context[Any]) -> str:
        for step in (1, 2, 3):
            await ctx.report_progress(step, 3, f"step {step}")
        return "done"

    @versatile.tool(structured_output=False)
    async def speak(ctx: Context[Any]) -> str:
        for step in (1, 2, 3):
            await ctx.log("warning", f"at {step}")
        return "said"

    @versatile.tool(structured_output=False)
    async def hang(ctx: Context[Any], sign: str) -> str:
        """Say in files that it began and that it was cancelled."""
        (folder / f"{sign}.began").touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            (folder / f"{sign}.cancelled").touch()
            raise
        return "late"

    @versatile.tool()
    def meta(ctx: Context[Any]) -> CallToolResult:
        """Give back what was in `_meta`, in the answer's own and as text."""
        given = {key: value for key, value in (ctx.request_context.meta or {}).items() if "progress" not in key}
        words = TextContent(type="text", text=json.dumps(given))
        return CallToolResult(content=[words], _meta={"example.org/answer": "42"})

    @versatile.tool(structured_output=False)
    async def grow(ctx: Context[Any], tool: str) -> str:
        (folder / f"{tool}.tool").touch()
        await ctx.session.send_tool_list_changed()  # who speaks the handshake era hears this
        await ctx.notify_tools_changed()  # and who listens in the modern one, this
        return "grown"

    @versatile.tool(structured_output=False)
    async def touch(ctx: Context[Any]) -> str:
        await ctx.session.send_resource_updated(f"{name}://note")
        await ctx.notify_resource_updated(f"{name}://note")
        return "touched"

    @versatile.tool(structured_output=False)
    async def ask_form(ctx: Context[Any]) -> str:
        answer = await ctx.elicit("Who?", Name)
        return f"hello {answer.data.name}" if answer.action == "accept" else answer.action

    @versatile.tool(structured_output=False)
    async def ask_url(ctx: Context[Any]) -> str:
        return (await ctx.elicit_url("Sign in", PAGE, "e1")).action

    @versatile.tool(structured_output=False)
    async def ask_sampling(ctx: Context[Any]) -> str:
        result = await ctx.session.create_message(
            QUESTION.messages, max_tokens=QUESTION.max_tokens, related_request_id=ctx.request_id
        )
        return _told(result)

    @versatile.tool(structured_output=False)
    async def ask_roots(ctx: Context[Any]) -> str:
        return _told(await ctx.session.list_roots())

    @versatile.tool(structured_output=False)
    async def resolve(who: Annotated[Name, Resolve(_ask_name)]) -> str:
        return f"hello {who.name}"

    @versatile.tool()
    async def rounds(ctx: Context[Any], kind: str) -> str | InputRequiredResult:
        """Ask in a round, as the modern era has it."""
        answer = (ctx.input_responses or {}).get(kind)
        if answer is None:
            return InputRequiredResult(input_requests={kind: ASKED[kind]}, request_state=f"asked {kind}")
        return f"{ctx.request_state}: {_told(answer)}"

    @versatile.resource(f"{name}://note", name="note")
    def note() -> str:
        return f"a note of {name}"

    @versatile.resource(f"{name}://item/{{id}}", name="item")
    def item(id: str) -> str:
        return f"item {id}"

    @versatile.prompt()
    def greet(name: str) -> str:
        return f"Say hello to {name}."

    @versatile.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(ref: Any, argument: Any, context: Any) -> Completion:
        return Completion(values=[value for value in ("ada", "alan", "grace") if value.startswith(argument.value)])

    return versatile


def _told(answer: Any) -> str:
    if isinstance(answer, CreateMessageResult):
        return str(getattr(answer.content, "text", ""))
    if isinstance(answer, ListRootsResult):
        return " ".join(str(root.uri) for root in answer.roots)
    assert isinstance(answer, ElicitResult)
    return str((answer.content or {}).get("name", answer.action))


if __name__ == "__main__":
    asyncio.run(server(sys.argv[1], Path(sys.argv[2])).run_stdio_async())
