"""`*/list`: a page of the snapshot, ready in wire form. Nothing is asked of a provider."""

from __future__ import annotations

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams

from switchboard.catalog import InvalidCursor, Listing
from switchboard.catalog.pages import WIRE_KEYS
from switchboard.gateway.source import CatalogSource, Context, Row
from switchboard.plugins import Kind
from switchboard.protocol.versions import fitted_definition


def row(source: CatalogSource, method: str, kind: Kind) -> Row:
    """The handler of one list method."""

    async def serve(ctx: Context, params: PaginatedRequestParams) -> HandlerResult:
        listing: Listing = getattr(await source.fresh(), kind)
        try:
            page = listing.page(params.cursor)
        except InvalidCursor as error:
            raise MCPError(INVALID_PARAMS, f"{error}: {method}") from error
        member = WIRE_KEYS[kind]
        return {**page, member: [fitted_definition(ctx.protocol_version, item) for item in page[member]]}

    return method, PaginatedRequestParams, serve
