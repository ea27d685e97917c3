"""`discover_tools` and `call_tool`: what stands for a list that is too long for a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolRequestParams, CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from switchboard.catalog import Offer
from switchboard.catalog.search import CALL, DISCOVER, MOST_RESULTS, SEARCHER, USUAL_RESULTS, search, tokens
from switchboard.common.validation_messages import complaints
from switchboard.errors import SwitchboardError
from switchboard.gateway.source import CatalogSource, Context, ask
from switchboard.plugins import Host
from switchboard.protocol.direct_requests import DirectTool

_STRICT: Final = ConfigDict(extra="forbid")


class Discover(BaseModel):
    """The arguments of `discover_tools`."""

    model_config = _STRICT

    query: str = Field(default="", max_length=1000)
    limit: int = Field(default=USUAL_RESULTS, ge=1, le=MOST_RESULTS)


class Call(BaseModel):
    """The arguments of `call_tool`."""

    model_config = _STRICT

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Searcher:
    """The provider of the two tools. Never in a snapshot: a view of one names it."""

    name = SEARCHER
    instructions: str | None = None
    extensions: Mapping[str, dict[str, Any]] = {}
    methods: Mapping[str, type[BaseModel]] = {}

    def __init__(self, source: CatalogSource) -> None:
        self._source = source

    async def offer(self) -> Offer:
        """Nothing of its own."""
        raise SwitchboardError("the two tools are part of a view, not of a snapshot")

    @asynccontextmanager
    async def running(self, _host: Host) -> AsyncIterator[None]:
        """It has no life of its own."""
        yield

    def direct(self, _name: str) -> DirectTool | None:
        """Neither of the two: what they find out and call is the view's."""
        return None

    async def handle(self, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
        """Serve one of the two tools."""
        if method != "tools/call" or not isinstance(params, CallToolRequestParams):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        try:
            if params.name == DISCOVER:
                return self._discover(Discover.model_validate(params.arguments or {}))
            return await self._call(ctx, params, Call.model_validate(params.arguments or {}))
        except ValidationError as error:
            text = f"Invalid arguments for tool {params.name}: {complaints(error, 'arguments')}"
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

    def _discover(self, wanted: Discover) -> CallToolResult:
        tools = self._source.current().tools.unlisted
        found = search(tools, wanted.query, wanted.limit)
        shown = [{**each.entry.wire, "estimatedTokens": tokens(each.entry.wire)} for each in found]
        answer = {
            "tools": shown,
            "matched": len(shown),
            "available": len(tools),
            "estimatedTokens": sum(each["estimatedTokens"] for each in shown),
            "estimatedTokensOfAll": sum(tokens(entry.wire) for entry in tools.values()),
        }
        return CallToolResult(
            content=[TextContent(type="text", text=to_json(answer).decode())], structured_content=answer
        )

    async def _call(self, ctx: Context, params: CallToolRequestParams, wanted: Call) -> HandlerResult:
        entry = self._source.current().tools.find(wanted.name)
        if entry is None or entry.provider == SEARCHER:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {wanted.name}")
        own = params.model_copy(update={"name": entry.name, "arguments": wanted.arguments})
        return await ask(self._source, entry, "tools/call", ctx, own)


def called(name: object, arguments: object) -> str:
    """The tool that a call is really about; empty when it says none."""
    inner = arguments.get("name") if name == CALL and isinstance(arguments, Mapping) else name
    return inner if isinstance(inner, str) else ""
