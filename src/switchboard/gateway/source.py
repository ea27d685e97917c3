"""What the handlers need from below: the current catalog, and who answers for a name in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST
from pydantic import BaseModel

from switchboard.audit.call_log import CallLog
from switchboard.audit.calls import Noted, began
from switchboard.catalog import Catalog, Offer
from switchboard.catalog.pages import Entry
from switchboard.catalog.personal import KnownOffers
from switchboard.catalog.search import SEARCHER
from switchboard.gateway.links import Links, has_links, to_note
from switchboard.identity import Caller, current
from switchboard.identity.scopes import missing
from switchboard.plugins import Host
from switchboard.protocol.direct_requests import DirectTool, NeedsContext

logger = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]
Row = tuple[str, type[BaseModel], Callable[[Context, Any], Awaitable[HandlerResult]]]
"""A method, the type of its parameters, and what serves it."""


Answer = TypeVar("Answer")


class Provider(Protocol):
    """Who does the work: a plugin in this process, or another MCP server."""

    @property
    def name(self) -> str:
        """Unique among providers."""
        ...

    @property
    def instructions(self) -> str | None:
        """What it wants clients to know about using it."""
        ...

    @property
    def extensions(self) -> Mapping[str, dict[str, Any]]:
        """The MCP extensions it supports: identifier → settings."""
        ...

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """Request methods beyond the specification's, with the type of their parameters."""
        ...

    async def offer(self) -> Offer:
        """What it offers as far as known now. Never waits for anyone: a slow provider must not delay the others."""
        ...

    async def handle(self, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
        """Serve one request; names in `params` are the provider's own."""
        ...

    def direct(self, name: str) -> DirectTool | None:
        """The tool of that name, by the provider's own, if calls of it need no context."""
        ...

    def running(self, host: Host) -> AbstractAsyncContextManager[None]:
        """Its life in one worker."""
        ...


class PersonalOffers(KnownOffers, Protocol):
    """What a provider offers to each person, beyond what it offers to everybody."""

    def is_stale(self, person: str) -> bool:
        """Whether it has to be asked what the person is offered."""
        ...

    async def learn(self, caller: Caller) -> None:
        """Ask, for a moment at most."""
        ...


@runtime_checkable
class PersonalProvider(Protocol):
    """A provider that may offer something else to each person."""

    @property
    def personal(self) -> PersonalOffers | None:
        """What it offers to each; `None` if that is the same for all."""
        ...


class Serving(Protocol):
    """The life of a provider in this worker; while it is entered, the provider is not ended."""

    replaced: bool
    """Whether another provider has its name now, or none."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_error: object) -> None: ...


@dataclass(frozen=True, slots=True)
class LiveTool:
    """A tool that can be called directly, and the life of its provider, in which that is done."""

    life: Serving
    tool: DirectTool


class CatalogSource(Protocol):
    """The catalog as the request being served may see it."""

    @property
    def providers(self) -> Sequence[Provider]:
        """In order."""
        ...

    def current(self) -> Catalog:
        """The last snapshot, at once."""
        ...

    @property
    def stale(self) -> bool:
        """Whether a change was announced that the snapshot may not have."""
        ...

    def direct(self, entry: Entry) -> LiveTool | None:
        """The tool of that entry, if its provider can be asked for it directly."""
        ...

    async def fresh(self) -> Catalog:
        """A snapshot that has every change announced so far."""
        ...

    @property
    def links(self) -> Links:
        """What providers handed out."""
        ...

    @property
    def calls(self) -> CallLog:
        """Where calls are noted."""
        ...

    def provider(self, name: str) -> Provider:
        """The provider that an entry of the catalog names."""
        ...

    def absent(self, exposed: str) -> MCPError | None:
        """Why there is no tool of that name, where that is known."""
        ...

    def connecting(self, exposed: str) -> Entry | None:
        """The tool by which the caller connects an account, if there may be a tool of that name after that."""
        ...

    async def handle(self, name: str, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
        """Let that provider serve one request; names in `params` are its own."""
        ...


async def ask(source: CatalogSource, entry: Entry, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
    """Let an entry's provider serve the request; an exception it did not mean for the client stays in the log.

    Raises:
        MCPError: the provider's, or the token lacks a scope that the entry needs. (Over HTTP `http/scopes` answers 403
            before it comes to this; here it also holds for calls that come another way.)
    """
    permitted(entry)
    return await answered(source, entry, method, source.handle(entry.provider, method, ctx, params), params)


async def answered(
    source: CatalogSource,
    entry: Entry,
    method: str,
    answer: Awaitable[Answer],
    params: Any,
    noted: Noted | None = None,
) -> Answer:
    """What an entry's provider answers; the links in it are noted, and the call is, if the log of calls wants it.

    Args:
        params: of the request: as it was sent, or the SDK's model of them.
        noted: of a call that goes on here.

    Raises:
        MCPError: the provider's, or one that says no more than that it failed.
        NeedsContext: the provider's.
    """
    noted = noted or began(source.calls, entry, method, params)
    try:
        result = await answer
        if has_links(result) and entry.provider != SEARCHER:
            links = to_note(source.current(), entry.provider, result)
            if links:
                await source.links.note(entry.provider, links)
        if noted is not None:
            noted.returned(result, current().principal)
        return result
    except NeedsContext as waiting:
        waiting.noted = noted
        raise
    except (MCPError, asyncio.CancelledError) as error:
        if noted is not None:
            noted.raised(error, current().principal)
        raise
    except Exception as error:  # the boundary between the gateway and strangers' code
        if noted is not None:
            noted.raised(error, current().principal)
        logger.exception("%s failed on %s", entry.provider, method)
        raise MCPError(INTERNAL_ERROR, f"{method} failed: {entry.exposed}") from error


def permitted(entry: Entry) -> None:
    """Refuse what the token of this request has no scope for.

    Raises:
        MCPError: naming the scopes that the entry needs.
    """
    if entry.scopes and missing(current().principal.scopes, entry.scopes):
        raise MCPError(INVALID_REQUEST, f"{entry.exposed} needs a token with: {' '.join(sorted(entry.scopes))}")


async def find(source: CatalogSource, look: Callable[[Catalog], Entry | None]) -> Entry | None:
    """Look in the current snapshot, and once more in a fresh one before something counts as unknown."""
    known = source.current()
    found = look(known)
    if found is not None:
        return found
    fresh = await source.fresh()
    return None if fresh is known else look(fresh)
