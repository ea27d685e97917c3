"""A plugin whose tools answer in every way that a tool can; for tests that send each request on two ways."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ImageContent,
    InputRequiredResult,
    ResourceLink,
    TextContent,
)
from pydantic import AfterValidator, BaseModel, Field

from switchboard.identity import current
from switchboard.plugins import Plugin


class Point(BaseModel):
    x: int
    y: float | None = None


def model(point: Point) -> Point:
    return point


def a_dict(n: int) -> dict[str, int]:
    return {"n": n}


async def a_list(n: int) -> list[str]:
    return ["é"] * n


async def nothing() -> None:
    return None


async def a_text(text: str) -> str:
    return text


async def anything(value: int | float | str | dict[str, Any] | list[Any] | None) -> Any:
    return value


async def deep(value: int) -> dict[str, Any]:
    return {"a": {"b": [value, None, {"c": 0.5}]}, "n": None}


async def refuses() -> str:
    raise ToolError("no: https://errors.pydantic.dev/2/v/missing")


async def crashes() -> str:
    raise RuntimeError("a secret")


async def waits_for_what_is_cancelled() -> None:
    waited_for: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    await waited_for


async def protocol_error(code: int = -32050) -> str:
    raise MCPError(code, "mine", {"a": 1})


async def wrong() -> int:
    return "nope"  # type: ignore[return-value]


async def not_a_number() -> float:
    return float("nan")


async def who() -> str:
    caller = current()
    return f"{caller.principal.subject} {caller.session_id is not None}"


def stated() -> CallToolResult:
    known = {"k": 1, "io.modelcontextprotocol/serverInfo": None}
    return CallToolResult(content=[], structured_content={"a": [1]}, _meta=known)


def failed() -> CallToolResult:
    return CallToolResult(content=[TextContent(text="bad", _meta={"m": 1})], is_error=True)


def unfit() -> CallToolResult:
    return CallToolResult(content=[], structured_content=["a list"])


def foreign() -> CallToolResult:
    return CallToolResult(content=[], structured_content={"it": object()})


def half_pair() -> str:
    return "\ud800"


def half_key() -> dict[str, str]:
    return {"\udc00": "é\u2028"}


class Word(str):
    """A text, and more."""


async def a_word() -> str:
    return Word("a word")


async def bounded_text() -> Annotated[str, Field(max_length=3)]:
    return "four"


async def louder_text(text: str) -> Annotated[str, AfterValidator(str.upper)]:
    return text


async def no_text() -> str:
    return 3  # type: ignore[return-value]


async def maybe_a_text(text: str | None = None) -> str | None:
    return text


async def bare_text(text: str):  # type: ignore[no-untyped-def]
    return text


async def leaves() -> str:
    sys.exit(3)


def link() -> ResourceLink:
    return ResourceLink(name="a", uri="odd://given/1")


def image() -> ImageContent:
    return ImageContent(data="aGk=", mime_type="image/png")


def large() -> int:
    return 2**80


async def more_input() -> InputRequiredResult:
    form = ElicitRequestFormParams(message="Who?", requested_schema={"type": "object", "properties": {}})
    return InputRequiredResult(input_requests={"who": ElicitRequest(params=form)}, request_state="mine")


async def with_context(ctx: Context[Any, Any]) -> str:
    return str(ctx.request_id)


class Gate:
    """Where a call waits until its test lets it through."""

    def __init__(self) -> None:
        self.reached, self.open, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()


GATES: dict[str, Gate] = {}
"""By the name that a test gave; tests and workers live in one process."""


async def waits(gate: str) -> str:
    found = GATES[gate]
    found.reached.set()
    try:
        await found.open.wait()
    except asyncio.CancelledError:
        found.cancelled.set()
        raise
    return "waited"


PLAIN = (
    model,
    a_dict,
    a_list,
    nothing,
    a_text,
    anything,
    deep,
    refuses,
    crashes,
    waits_for_what_is_cancelled,
    protocol_error,
    wrong,
    not_a_number,
    who,
    stated,
    failed,
    unfit,
    foreign,
    half_pair,
    half_key,
    a_word,
    bounded_text,
    louder_text,
    no_text,
    maybe_a_text,
    bare_text,
    leaves,
    link,
    image,
    large,
)


def plugin(_config: Mapping[str, object]) -> Plugin:
    server: MCPServer[Any] = MCPServer("odd")
    for tool in (*PLAIN, waits, more_input, with_context):
        server.add_tool(tool)
    return Plugin("odd", "1", server)
