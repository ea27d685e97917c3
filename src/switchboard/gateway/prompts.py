"""`prompts/list` and `prompts/get`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptRequestParams

from switchboard.gateway import list_pages
from switchboard.gateway.source import CatalogSource, Context, Row, ask, find
from switchboard.protocol.versions import fitted_result


def rows(source: CatalogSource) -> Iterable[Row]:
    """What serves prompts."""

    async def get(ctx: Context, params: GetPromptRequestParams) -> HandlerResult:
        exposed = params.name
        entry = await find(source, lambda catalog: catalog.prompts.find(exposed))
        if entry is None:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {exposed}")
        missing = _missing(entry.wire, params.arguments or {})
        if missing:
            raise MCPError(INVALID_PARAMS, f"Missing arguments for prompt {exposed}: {', '.join(missing)}")
        own = params.model_copy(update={"name": entry.name})
        return fitted_result(ctx.protocol_version, await ask(source, entry, "prompts/get", ctx, own))

    yield list_pages.row(source, "prompts/list", "prompts")
    yield "prompts/get", GetPromptRequestParams, get


def _missing(prompt: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    arguments = prompt.get("arguments", ())
    return [item["name"] for item in arguments if item.get("required") and item["name"] not in given]
