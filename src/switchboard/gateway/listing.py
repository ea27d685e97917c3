"""`*/list`: a page of the snapshot, ready in wire form. Nothing is asked of a provider."""

from __future__ import annotations

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams

from switchboard.catalog import InvalidCursor, Listing
from switchboard.gateway.source import CatalogSource, Context, Row
from switchboard.plugins import Kind


def row(source: CatalogSource, method: str, kind: Kind) -> Row:
    """The handler of one list method."""

    async def serve(_ctx: Context, params: PaginatedRequestParams) -> HandlerResult:
        listing: Listing = getattr(await source.fresh(), kind)
        try:
            return listing.page(params.cursor)
        except InvalidCursor as error:
            raise MCPError(INVALID_PARAMS, f"{error}: {method}") from error

    return method, PaginatedRequestParams, serve
