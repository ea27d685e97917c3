"""`resources/list`, `resources/templates/list` and `resources/read`."""

from __future__ import annotations

from collections.abc import Iterable
from operator import methodcaller

from mcp.server.caching import CacheHint, apply_cache_hint
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CacheableResult, ReadResourceRequestParams
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from switchboard.catalog.pages import Entry
from switchboard.errors import StateUnavailable
from switchboard.gateway import list_pages
from switchboard.gateway.source import CatalogSource, Context, Row, ask, find, permitted
from switchboard.identity import current
from switchboard.identity.scopes import missing

RESOURCE_NOT_FOUND = -32002
"""https://modelcontextprotocol.io/specification/2025-11-25/server/resources#error-handling; retired in 2026-07-28."""

UNSTATED = CacheHint(ttl_ms=0, scope="private")
"""What a provider reads may depend on who asks, so only its own word makes it public."""


def rows(source: CatalogSource) -> Iterable[Row]:
    """What serves resources."""

    async def read(ctx: Context, params: ReadResourceRequestParams) -> HandlerResult:
        entry = await reader(source, ctx, str(params.uri))
        try:
            own = params.model_copy(update={"uri": entry.name})
            result = await ask(source, entry, "resources/read", ctx, own)
        except MCPError as error:
            if _says_not_found(error):
                raise not_found(ctx, str(params.uri), error.message) from error
            raise
        if isinstance(result, CacheableResult):
            return apply_cache_hint(result, source.current().read_hints.get(entry.provider, UNSTATED))
        return result

    yield list_pages.row(source, "resources/list", "resources")
    yield list_pages.row(source, "resources/templates/list", "templates")
    yield "resources/read", ReadResourceRequestParams, read


async def reader(source: CatalogSource, ctx: Context, uri: str) -> Entry:
    """Whose resource this is: what every request that names one passes.

    Raises:
        MCPError: nobody's, as far as policy shows it to this request; or the token lacks a scope for it.
    """
    entry = await _reader_of(source, uri)
    if entry is None:
        raise not_found(ctx, uri)
    permitted(entry)
    return entry


async def _reader_of(source: CatalogSource, uri: str) -> Entry | None:
    """Who lists it, else who handed it out to this principal, else whose template matches."""
    owned = source.current().owner_of(uri)
    if owned is not None:
        return owned
    try:
        giver = await source.links.giver(uri)
    except StateUnavailable:
        # Whoever has a template for it is known without shared state; that nobody gave it is not.
        if (entry := source.current().reader_of(uri)) is not None:
            return entry
        raise
    if giver is not None and any(provider.name == giver[0] for provider in source.providers):
        given = source.current().given(giver[0], uri, giver[1])
        if given is not None:
            return given
    return await find(source, methodcaller("reader_of", uri))


async def readable(source: CatalogSource, uris: Iterable[str]) -> list[str]:
    """Those of the URIs that this request may read."""
    found: list[str] = []
    for uri in uris:
        entry = await _reader_of(source, uri)
        if entry is not None and not missing(current().principal.scopes, entry.scopes):
            found.append(uri)
    return found


def not_found(ctx: Context, uri: str, message: str = "Resource not found") -> MCPError:
    """The error for an unknown resource as the client's protocol version has it."""
    handshake = ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
    return MCPError(RESOURCE_NOT_FOUND if handshake else INVALID_PARAMS, message, {"uri": uri})


def _says_not_found(error: MCPError) -> bool:
    """Whether a provider's error is its way to say so: a template matched, but there is nothing behind this URI."""
    data = error.data
    return error.code == RESOURCE_NOT_FOUND or (
        error.code == INVALID_PARAMS and isinstance(data, dict) and data.keys() == {"uri"}
    )
