"""`completion/complete`: routed to whoever offers the prompt or the resource template."""

from __future__ import annotations

from collections.abc import Iterable

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    PromptReference,
)

from switchboard.catalog import Catalog
from switchboard.catalog.pages import Entry
from switchboard.gateway.source import CatalogSource, Context, Row, ask, find

LIMIT = 100
"""https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/completion#completion-results"""


def rows(source: CatalogSource) -> Iterable[Row]:
    """What serves completions."""

    async def complete(ctx: Context, params: CompleteRequestParams) -> HandlerResult:
        entry = await find(source, lambda catalog: _referenced(catalog, params))
        if entry is None:
            raise MCPError(INVALID_PARAMS, f"Unknown reference: {_shown(params)}")
        try:
            result = await ask(source, entry, "completion/complete", ctx, _own(params, entry))
        except MCPError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            return CompleteResult(completion=Completion(values=[]))
        return _capped(result)

    yield "completion/complete", CompleteRequestParams, complete


def _referenced(catalog: Catalog, params: CompleteRequestParams) -> Entry | None:
    ref = params.ref
    if isinstance(ref, PromptReference):
        return catalog.prompts.find(ref.name)
    return catalog.templates.find_equal(ref.uri) or catalog.resources.find_equal(ref.uri)


def _own(params: CompleteRequestParams, entry: Entry) -> CompleteRequestParams:
    member = "name" if isinstance(params.ref, PromptReference) else "uri"
    return params.model_copy(update={"ref": params.ref.model_copy(update={member: entry.name})})


def _capped(result: HandlerResult) -> HandlerResult:
    if not isinstance(result, CompleteResult) or len(result.completion.values) <= LIMIT:
        return result
    values = result.completion.values
    total = result.completion.total or len(values)
    return result.model_copy(update={"completion": Completion(values=values[:LIMIT], total=total, has_more=True)})


def _shown(params: CompleteRequestParams) -> str:
    return params.ref.name if isinstance(params.ref, PromptReference) else params.ref.uri
