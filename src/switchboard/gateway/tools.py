"""`tools/list` and `tools/call`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult

from switchboard.gateway import list_pages
from switchboard.gateway.source import CatalogSource, Context, Row, ask, find
from switchboard.plugins import TASK_SUPPORT, TaskSupport
from switchboard.protocol.versions import fitted_result


def rows(source: CatalogSource) -> Iterable[Row]:
    """What serves tools."""

    async def call(ctx: Context, params: CallToolRequestParams) -> HandlerResult:
        exposed = params.name
        entry = source.current().tools.find(exposed) or await find(source, lambda catalog: catalog.tools.find(exposed))
        if entry is None and (connect := source.connecting(exposed)) is not None:
            own = params.model_copy(update={"name": connect.name, "arguments": {}})
            result = await ask(source, connect, "tools/call", ctx, own)
            if not isinstance(result, CallToolResult) or result.is_error:
                return fitted_result(ctx.protocol_version, result)
            entry = await find(source, lambda catalog: catalog.tools.find(exposed))
        if entry is None:
            # A protocol error, not an `isError` result: the model cannot mend a name that was never listed.
            # https://modelcontextprotocol.io/specification/2025-11-25/server/tools#error-handling
            raise source.absent(exposed) or MCPError(INVALID_PARAMS, f"Unknown tool: {exposed}")
        own = params if entry.name == exposed else params.model_copy(update={"name": entry.name})
        return fitted_result(ctx.protocol_version, await ask(source, entry, "tools/call", ctx, own))

    yield list_pages.row(source, "tools/list", "tools")
    yield "tools/call", CallToolRequestParams, call


def input_schema(source: CatalogSource) -> Callable[[str], Mapping[str, Any] | None]:
    """Looks up a tool's input schema by its exposed name, for checking `Mcp-Param-*` headers without listing."""

    def look_up(name: str) -> Mapping[str, Any] | None:
        entry = source.current().tools.find(name)
        return None if entry is None else entry.wire["inputSchema"]

    return look_up


def task_support(source: CatalogSource) -> Callable[[str], TaskSupport | None]:
    """Looks up whether a tool, by its exposed name, may or must run as a task."""

    def look_up(name: str) -> TaskSupport | None:
        entry = source.current().tools.find(name)
        said = None if entry is None else entry.wire.get("_meta", {}).get(TASK_SUPPORT)
        return said if said in get_args(TaskSupport) else None

    return look_up
