"""The part of a catalog that one URL asks for: `/mcp?preset=dev&tags=web,!danger`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from switchboard.catalog.pages import Entry, Listing
from switchboard.catalog.search import search_entries
from switchboard.catalog.shaping import Patterns
from switchboard.catalog.snapshot import Catalog, digest
from switchboard.config import Preset, ToolSearch, provider_name
from switchboard.plugins.api import Kind

LONGEST: Final = 512
"""Characters of a tag expression."""


class UnknownSelection(ValueError):
    """A URL asks for a preset that there is not, or for tags in no known way."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a URL asks for, as it was written."""

    preset: str = ""
    tags: str = ""

    @property
    def query(self) -> str:
        """As a part of a URL; empty if everything is asked for."""
        return urlencode({name: value for name, value in (("preset", self.preset), ("tags", self.tags)) if value})


EVERYTHING: Final = Wish()


@dataclass(frozen=True)
class Tags:
    """`web,docs,!danger`: one of the first two, and not the third."""

    any_of: frozenset[str] = frozenset()
    none_of: frozenset[str] = frozenset()

    def admit(self, tags: frozenset[str]) -> bool:
        """Whether something with these tags is meant."""
        return (not self.any_of or not self.any_of.isdisjoint(tags)) and self.none_of.isdisjoint(tags)


@dataclass(frozen=True)
class Selection:
    """What must hold, all of it."""

    tags: tuple[Tags, ...] = ()
    providers: frozenset[str] | None = None
    allow: Patterns = field(default_factory=Patterns)
    deny: Patterns = field(default_factory=Patterns)
    search: ToolSearch | None = None

    def admits(self, kind: Kind, entry: Entry) -> bool:
        """Whether the entry belongs to it."""
        if self.providers is not None and entry.provider not in self.providers:
            return False
        if not all(tags.admit(entry.tags) for tags in self.tags):
            return False
        return self.allow.admit(kind, entry.exposed) and not self.deny.match(kind, entry.exposed)


def wish(query: bytes) -> Wish:
    """What a URL's query asks for; parameters that are about something else are left alone.

    Raises:
        UnknownSelection: a parameter is given twice, or is too long.
    """
    if b"preset" not in query and b"tags" not in query:
        return EVERYTHING
    pairs = [pair for pair in parse_qsl(query.decode("latin-1")) if pair[0] in ("preset", "tags")]
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnknownSelection("preset and tags can be given once each")
    if any(len(value) > LONGEST for value in found.values()):
        raise UnknownSelection("preset and tags are too long")
    return Wish(**found)


def tags(expression: str) -> Tags:
    """A tag expression.

    Raises:
        UnknownSelection: a word in it is empty.
    """
    words = [word.strip() for word in expression.split(",")]
    if not all(word.removeprefix("!") for word in words):
        raise UnknownSelection(f"{expression!r} is not a list of tags: write web,docs or web,!danger")
    refused = {word[1:] for word in words if word.startswith("!")}
    return Tags(frozenset(words) - {f"!{word}" for word in refused}, frozenset(refused))


def resolved(wish: Wish, presets: Mapping[str, Preset], search: ToolSearch) -> Selection:
    """What the wish means by this configuration.

    Raises:
        UnknownSelection: there is no such preset.
    """
    own = (tags(wish.tags),) if wish.tags else ()
    default = search if search.enabled else None
    if not wish.preset:
        return Selection(own, search=default)
    preset = presets.get(wish.preset)
    if preset is None:
        raise UnknownSelection(f"there is no preset {wish.preset!r}; there are: {', '.join(presets) or 'none'}")
    return Selection(
        (*own, tags(preset.tags)) if preset.tags else own,
        frozenset(provider_name(name) for name in preset.servers) or None,
        Patterns(preset.allow),
        Patterns(preset.deny),
        {None: default, True: search, False: None}[preset.tool_search],
    )


def select(catalog: Catalog, selection: Selection) -> Catalog:
    """The catalog as the selection shows it; the rest is not listed and reads as unknown."""
    if selection == Selection():
        return catalog
    admitted = [_admitted(listing, selection) for listing in catalog.listings]
    tools, resources, templates, prompts = admitted
    return replace(
        catalog,
        tools=_searched(tools, selection.search) if selection.search else tools,
        resources=resources,
        templates=templates,
        prompts=prompts,
        matchers=tuple(pair for pair in catalog.matchers if pair[1].exposed in templates.entries),
        selection=selection,
    )


def _admitted(listing: Listing, selection: Selection) -> Listing:
    return _with(listing, (entry for entry in listing.entries.values() if selection.admits(listing.kind, entry)))


def _searched(listing: Listing, search: ToolSearch) -> Listing:
    """Few enough are listed as they are; else the tools that find and call the others, and those to keep."""
    if sum(entry.tokens for entry in listing.entries.values()) <= search.above_tokens:
        return listing
    keep = Patterns(search.keep)
    kept = (entry for entry in listing.entries.values() if keep.match("tools", entry.exposed))
    return replace(_with(listing, [*search_entries(), *kept]), unlisted=listing.entries)


def _with(listing: Listing, entries: Iterable[Entry]) -> Listing:
    by_name = {entry.exposed: entry for entry in entries}
    return replace(listing, entries=by_name, digest=digest(by_name, listing.page_size, listing.hint))
