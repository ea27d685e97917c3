"""The catalog as one URL shows it: a `CatalogSource` that reads the wish of the request being served.

Views are made once for a snapshot and remembered, so that a request under a preset costs what any other does.
"""

from __future__ import annotations

import contextvars
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import BaseModel

from switchboard.audit.call_log import CallLog
from switchboard.catalog import Catalog, Entry, Selection, UnknownSelection, Wish, resolved, select, wish
from switchboard.catalog.search import SEARCHER
from switchboard.catalog.selection import EVERYTHING
from switchboard.config import Preset, ToolSearch
from switchboard.gateway.links import Links
from switchboard.gateway.live import LiveCatalog
from switchboard.gateway.searching import Searcher, called
from switchboard.gateway.source import Context, LiveTool, Provider

REMEMBERED: Final = 64
"""Views. Clients write tag expressions, so there is no end to them."""

_UNCHANGED: Final = nullcontext()
_wish: contextvars.ContextVar[Wish] = contextvars.ContextVar("switchboard_wish")


class SelectedCatalog:
    """The live catalog, as the request being served may see it."""

    def __init__(
        self, live: LiveCatalog, presets: Mapping[str, Preset] | None = None, search: ToolSearch | None = None
    ) -> None:
        self._live = live
        self._presets = presets or {}
        self._search = search or ToolSearch()
        self._views: OrderedDict[tuple[Wish, str], tuple[Catalog, Catalog]] = OrderedDict()
        self._latest: tuple[Wish, Catalog, Catalog] | None = None
        """The view that was looked at last, found without working out the hash of its wish."""
        self._searcher = Searcher(self)

    @property
    def providers(self) -> Sequence[Provider]:
        """All of them, in order."""
        return self._live.providers

    @property
    def links(self) -> Links:
        """What providers handed out."""
        return self._live.links

    @property
    def calls(self) -> CallLog:
        """Where calls are noted."""
        return self._live.calls

    def provider(self, name: str) -> Provider:
        """The provider that an entry of the catalog names."""
        return self._searcher if name == SEARCHER else self._live.provider(name)

    async def handle(self, name: str, method: str, ctx: Context, params: BaseModel) -> HandlerResult:
        """Let a provider serve a request."""
        if name == SEARCHER:
            return await self._searcher.handle(method, ctx, params)
        return await self._live.handle(name, method, ctx, params)

    def direct(self, entry: Entry) -> LiveTool | None:
        """The tool of that entry, if its provider can be asked for it directly."""
        return self._live.direct(entry)

    @property
    def stale(self) -> bool:
        """Whether a change was announced that the snapshot may not have."""
        return self._live.stale

    def current(self) -> Catalog:
        """The last snapshot, at once."""
        return self._view(self._live.current())

    async def fresh(self) -> Catalog:
        """A snapshot that has every change announced so far."""
        return self._view(await self._live.fresh())

    def absent(self, exposed: str) -> MCPError | None:
        """Why there is no tool of that name, where that is known; a selection tells of nothing else."""
        return self._live.absent(exposed) if _wish.get(EVERYTHING) == EVERYTHING else None

    def connecting(self, exposed: str) -> Entry | None:
        """The tool by which the caller connects an account, if the selection shows it."""
        found = self._live.connecting(exposed)
        return None if found is None else self.current().tools.find(found.exposed)

    def change(self, presets: Mapping[str, Preset], search: ToolSearch) -> None:
        """Go on with other presets."""
        self._presets, self._search = presets, search
        self._views.clear()
        self._latest = None

    def serving(self, query: bytes) -> AbstractContextManager[None]:
        """Serve what is done inside as the query of its URL wishes.

        Raises:
            UnknownSelection: it wishes for what there is not.
        """
        wished = wish(query)
        if wished is EVERYTHING and _wish.get(EVERYTHING) is EVERYTHING:
            return _UNCHANGED
        resolved(wished, self._presets, self._search)
        return self._serving(wished)

    @contextmanager
    def _serving(self, wished: Wish) -> Iterator[None]:
        reset = _wish.set(wished)
        try:
            yield
        finally:
            _wish.reset(reset)

    def tool_of(self, params: Mapping[str, Any]) -> tuple[str, str | None]:
        """The tool that this `tools/call` is really about, and its provider, if there is such a tool."""
        name = called(params.get("name"), params.get("arguments"))
        entry = self.current().tools.find(name)
        return name, entry.provider if entry is not None else None

    def entry_scopes(self, method: str, params: Mapping[str, Any]) -> frozenset[str]:
        """What a token needs for what this request is about, besides what every request of its method needs."""
        look = _ABOUT.get(method)
        entry = look(self.current(), params) if look is not None else None
        return entry.scopes if entry is not None else frozenset()

    def _view(self, whole: Catalog) -> Catalog:
        wished = _wish.get(EVERYTHING)
        if self._latest is not None and self._latest[0] is wished and self._latest[1] is whole:
            return self._latest[2]
        key = wished, self._live.person
        base, view = self._views.get(key, (None, None))
        if base is not whole or view is None:
            view = select(whole, self._resolved(wished))
            self._views[key] = whole, view
            if len(self._views) > REMEMBERED:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        self._latest = wished, whole, view
        return view

    def _resolved(self, wished: Wish) -> Selection:
        try:
            return resolved(wished, self._presets, self._search)
        except UnknownSelection as error:  # the preset was taken away while a client went on with it
            raise MCPError(INVALID_PARAMS, str(error)) from error


def _prompt(catalog: Catalog, params: Mapping[str, Any]) -> Entry | None:
    return catalog.prompts.find(_text(params, "name"))


def _resource(catalog: Catalog, params: Mapping[str, Any]) -> Entry | None:
    return catalog.reader_of(_text(params, "uri"))


def _reference(catalog: Catalog, params: Mapping[str, Any]) -> Entry | None:
    ref = params.get("ref")
    if not isinstance(ref, Mapping):
        return None
    if ref.get("type") == "ref/prompt":
        return _prompt(catalog, ref)
    return catalog.templates.find_equal(_text(ref, "uri")) or catalog.resources.find_equal(_text(ref, "uri"))


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    return value if isinstance(value, str) else ""


_ABOUT: Final[Mapping[str, Callable[[Catalog, Mapping[str, Any]], Entry | None]]] = {
    "tools/call": lambda catalog, params: catalog.tools.find(called(params.get("name"), params.get("arguments"))),
    "prompts/get": _prompt,
    "resources/read": _resource,
    "resources/subscribe": _resource,
    "completion/complete": _reference,
}
"""Method → the entry that its params name."""
