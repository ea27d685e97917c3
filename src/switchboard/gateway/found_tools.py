"""The tools that calls name, found once for each view of the catalog: whose they are, how they are called.

A view's tools are the same for as long as the view is; a provider that was replaced by one with equal offers leaves
the view as it is, so its tools are looked up anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mcp.shared.inbound import x_mcp_header_map

from switchboard.catalog import Catalog, Entry
from switchboard.gateway.source import CatalogSource, LiveTool
from switchboard.plugins import TASK_SUPPORT

VIEWS: Final = 64
"""Views of the catalog whose tools are remembered."""


class FoundTool:
    """A tool of a view of the catalog, and how it can be called. Satisfies `CalledTool`."""

    __slots__ = ("_live", "_looked", "_source", "entry", "name", "plain", "provider", "scopes")

    def __init__(self, source: CatalogSource, entry: Entry) -> None:
        self.entry = entry
        self.name, self.provider, self.scopes = entry.exposed, entry.provider, entry.scopes
        self.plain = _may_be_direct(entry)
        """Whether it is called like any other."""
        self._source = source
        self._looked = False
        self._live: LiveTool | None = None

    @property
    def live(self) -> LiveTool | None:
        """The tool, if it can be called directly."""
        live = self._live
        if not self._looked or (live is not None and live.life.replaced):
            live = self._live = self._source.direct(self.entry) if self.plain else None
            self._looked = True
        return live


class FoundTools:
    """Finds tools in the view of the request being served; only those that there are, are remembered."""

    def __init__(self, source: CatalogSource) -> None:
        self._source = source
        self._views: OrderedDict[int, tuple[Catalog, dict[str, FoundTool]]] = OrderedDict()
        self._latest: tuple[Catalog, dict[str, FoundTool]] | None = None
        """Those of the view that was looked at last."""

    def forget(self) -> None:
        """What providers offer has changed: look again."""
        self._views.clear()
        self._latest = None

    def find(self, name: str) -> FoundTool | None:
        """The tool of that name.

        Raises:
            MCPError: the view is gone, since its preset was taken away.
        """
        view = self._source.current()
        latest = self._latest
        if latest is None or latest[0] is not view:
            latest = self._latest = self._of_view(view)
        found = latest[1].get(name)
        if found is None and (entry := view.tools.find(name)) is not None:
            found = latest[1][name] = FoundTool(self._source, entry)
        return found

    def _of_view(self, view: Catalog) -> tuple[Catalog, dict[str, FoundTool]]:
        kept = self._views.get(id(view))
        if kept is None or kept[0] is not view:
            kept = self._views[id(view)] = view, {}
            if len(self._views) > VIEWS:
                self._views.popitem(last=False)
        return kept


def _may_be_direct(entry: Entry) -> bool:
    """Not what may become a task, nor what has headers that have to be equal to its arguments."""
    return TASK_SUPPORT not in (entry.wire.get("_meta") or {}) and not x_mcp_header_map(entry.wire["inputSchema"])
