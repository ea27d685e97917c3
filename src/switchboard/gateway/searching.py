"""`discover_tools` and `call_tool`: what stands for a list that is too long for a model."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, CallToolRequestParams, CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from switchboard.catalog import Entry, Offer
from switchboard.catalog.search import CALL, DISCOVER, MOST_RESULTS, SEARCHER, USUAL_RESULTS, ToolIndex
from switchboard.common.validation_messages import complaints
from switchboard.errors import SwitchboardError
from switchboard.gateway.source import CatalogSource, Context, ask
from switchboard.plugins import Host
from switchboard.protocol.direct_requests import DirectTool

LARGE: Final = 500
"""Tools from which on an index is made beside the event loop."""

INDEXES: Final = 8
"""Views of the catalog whose tools are indexed at once, some 350 bytes for each tool."""

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
        self._indexes: OrderedDict[int, tuple[Mapping[str, Entry], ToolIndex]] = OrderedDict()
        """By the identity of the tools that were indexed, which are kept with it."""
        self._indexing = asyncio.Lock()

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
                return await self._discover(Discover.model_validate(params.arguments or {}))
            return await self._call(ctx, params, Call.model_validate(params.arguments or {}))
        except ValidationError as error:
            text = f"Invalid arguments for tool {params.name}: {complaints(error, 'arguments')}"
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

    async def _discover(self, wanted: Discover) -> CallToolResult:
        index = await self._index(self._source.current().tools.unlisted)
        found = index.search(wanted.query, wanted.limit)
        shown = [{**each.entry.wire, "estimatedTokens": each.entry.tokens} for each in found]
        answer = {
            "tools": shown,
            "matched": len(shown),
            "available": len(index),
            "estimatedTokens": sum(each["estimatedTokens"] for each in shown),
            "estimatedTokensOfAll": index.estimated_tokens,
        }
        return CallToolResult(
            content=[TextContent(type="text", text=to_json(answer).decode())], structured_content=answer
        )

    async def _index(self, tools: Mapping[str, Entry]) -> ToolIndex:
        """The index of a view's tools: made when it is first asked for, beside the event loop if there are many."""
        async with self._indexing:
            kept, index = self._indexes.get(id(tools), (None, None))
            if kept is not tools or index is None:
                index = ToolIndex(tools) if len(tools) < LARGE else await asyncio.to_thread(ToolIndex, tools)
                self._indexes[id(tools)] = tools, index
                if len(self._indexes) > INDEXES:
                    self._indexes.popitem(last=False)
            self._indexes.move_to_end(id(tools))
            return index

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
