"""Innermost middleware: a list page is shaped for a protocol version once, then sent as it is until the list changes.

The kernel validates and dumps every result anew, which for a page of 250 tools costs more than everything else in the
request. What it made of a page depends on the list's digest, the cursor and the protocol version, and on nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PaginatedRequestParams
from mcp_types.methods import validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.catalog import InvalidCursor, Listing
from switchboard.catalog.pages import WIRE_KEYS
from switchboard.catalog.snapshot import METHODS
from switchboard.common import strict_json
from switchboard.gateway.source import CatalogSource, Context, Row
from switchboard.plugins import Kind
from switchboard.protocol.versions import fitted_definition

KINDS: Mapping[str, Kind] = {method: kind for kind, method in METHODS.items()}
"""What each method lists."""


@dataclass(slots=True)
class _Page:
    """The result of a request for one page."""

    result: Mapping[str, Any]
    text: bytes | None = None
    """The same as JSON, once it was asked for."""


_Pages = dict[tuple[str, str | None], _Page]
"""(protocol version, cursor) → page. Only cursors that pages link to, so a client cannot make it grow."""


LISTS: Final = 128
"""Lists remembered at once: each kind of thing, as each preset in use shows it."""


class WirePages:
    """Remembers the pages of the lists in use."""

    def __init__(self, source: CatalogSource) -> None:
        self._source = source
        self._remembered: OrderedDict[tuple[Kind, str], _Pages] = OrderedDict()

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Serve a remembered page, or let the kernel make one and remember it."""
        kind = KINDS.get(ctx.method)
        cursor = (ctx.params or {}).get("cursor")
        if kind is None or not _admitted(ctx) or not isinstance(cursor, str | None):
            return await call_next(ctx)
        listing: Listing = getattr(await self._source.fresh(), kind)
        pages = self._pages(kind, listing.digest)
        page = pages.get((ctx.protocol_version, cursor))
        if page is not None:
            # The one check of the kernel that a remembered answer must not skip.
            validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
            return dict(page.result)
        result = await call_next(ctx)
        unchanged = getattr(self._source.current(), kind) is listing
        if unchanged and isinstance(result, dict) and listing.begins_page(cursor):
            pages[ctx.protocol_version, cursor] = _Page(dict(result))
        return result

    def written(self, method: str, version: str, cursor: str | None) -> bytes | None:
        """The result of such a request as JSON, if it is remembered, and no change was announced that it lacks.

        Raises:
            MCPError: the view that the request is to see is gone.
        """
        if self._source.stale:
            return None
        kind = KINDS[method]
        pages = self._remembered.get((kind, getattr(self._source.current(), kind).digest), {})
        page = pages.get((version, cursor))
        if page is None:
            return None
        if page.text is None:
            page.text = strict_json.written(page.result)
        return page.text

    def _pages(self, kind: Kind, digest: str) -> _Pages:
        pages = self._remembered.setdefault((kind, digest), {})
        self._remembered.move_to_end((kind, digest))
        if len(self._remembered) > LISTS:
            self._remembered.popitem(last=False)
        return pages


def _admitted(ctx: Context) -> bool:
    """Whether the kernel's gate is open: not before the handshake, in the era that has one."""
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or ctx.session.client_params is not None


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
