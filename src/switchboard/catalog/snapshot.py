"""The snapshot: everything that every provider offers, resolved into one view.

Resources are not renamed: a URI is an identity that text, links and subscriptions carry around. Their collision rule:

1. The first provider in order that offers a URI or a URI template owns it, and all that are the same (`resource_uris`);
   later providers' are rejected.
2. Reading: a listed URI, and then one that is the same as a listed one, beats every template; among templates the first
   in catalog order that matches is asked, and its answer stands. What policy says of a URI holds for it either way: a
   template leads to nothing that is denied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from mcp.server.caching import CacheHint
from mcp.shared.uri_template import InvalidUriTemplate
from mcp_types import Prompt, Resource, ResourceTemplate, Tool
from pydantic import BaseModel

from switchboard.catalog.naming import Claim, Naming, Prefix, Rejection, Renaming, resolve
from switchboard.catalog.pages import DEFAULT_PAGE_SIZE, Entry, Listing
from switchboard.catalog.shaping import AS_IT_IS, Shape
from switchboard.plugins.api import Kind
from switchboard.protocol.resource_uris import Template, canonical

__all__ = ["Catalog", "Entry", "Offer", "build", "digest"]

METHODS: Mapping[Kind, str] = {
    "tools": "tools/list",
    "resources": "resources/list",
    "templates": "resources/templates/list",
    "prompts": "prompts/list",
}
_IDENTITY: Mapping[Kind, str] = {"tools": "name", "resources": "uri", "templates": "uri_template", "prompts": "name"}
_PAGE_KEYS = ("ui/resourceUri", "openai/outputTemplate")
"""Older keys than `ui.resourceUri`. https://github.com/modelcontextprotocol/ext-apps"""

_UNSTATED = CacheHint(ttl_ms=0, scope="public")


class Offer(Protocol):
    """What one provider offers, and how it wants it shown."""

    @property
    def provider(self) -> str: ...
    @property
    def prefix(self) -> Prefix: ...
    @property
    def tools(self) -> Sequence[Tool]: ...
    @property
    def resources(self) -> Sequence[Resource]: ...
    @property
    def templates(self) -> Sequence[ResourceTemplate]: ...
    @property
    def prompts(self) -> Sequence[Prompt]: ...
    @property
    def page_sizes(self) -> Mapping[Kind, int]: ...
    @property
    def cache_hints(self) -> Mapping[str, CacheHint]: ...


class Admission(Protocol):
    """What a view of a snapshot shows."""

    def admits(self, kind: Kind, entry: Entry) -> bool:
        """Whether the entry belongs to it."""
        ...


@dataclass(frozen=True)
class Catalog:
    """An immutable view of everything offered."""

    tools: Listing
    resources: Listing
    templates: Listing
    prompts: Listing
    read_hints: Mapping[str, CacheHint]
    """Provider → what it says about caching what is read from it."""

    rejected: tuple[Rejection, ...]
    matchers: tuple[tuple[Template, Entry], ...]
    renamed: tuple[Renaming, ...] = ()
    """What is offered under a name that was made to fit."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """By provider, the policy that holds for each URI of its templates."""

    pages: Mapping[str, Entry] = field(default_factory=dict)
    """Canonical URI of a page that a tool is shown with (MCP Apps) → whose it is; such pages need not be listed."""

    selection: Admission | None = None
    """What this view was made of, if it is one."""

    made: Mapping[int, Making] = field(default_factory=dict, repr=False, compare=False)
    """By the identity of what was offered, what was made of it: the next snapshot takes it from here."""

    @property
    def digest(self) -> str:
        """Equal for equal offers, on every worker."""
        return ".".join(listing.digest for listing in self.listings)

    @property
    def listings(self) -> tuple[Listing, ...]:
        """The four lists."""
        return self.tools, self.resources, self.templates, self.prompts

    def reader_of(self, uri: str) -> Entry | None:
        """Whose resource this is, by its URI or by a template that matches it; `name` is as its provider has it."""
        owned = self.owner_of(uri)
        if owned is not None:
            return owned
        matching = ((entry, own) for template, entry in self.matchers if (own := template.own(uri)) is not None)
        return next((found for entry, own in matching if (found := self.through(entry, uri, own)) is not None), None)

    def owner_of(self, uri: str) -> Entry | None:
        """Whose resource this is for certain: it is listed, or a tool's own page."""
        listed = self.resources.find_equal(uri)
        if listed is not None:
            return listed
        page = self.pages.get(canonical(uri))
        return None if page is None else self.through(page, uri, page.name)

    def given(self, provider: str, uri: str, own: str) -> Entry | None:
        """The resource behind a link that a provider handed out, as policy has it."""
        return self.through(Entry(uri, provider, own, {}), uri, own)

    def through(self, entry: Entry, uri: str, own: str) -> Entry | None:
        """The resource of that URI at the entry's provider, as policy has it; `None` where policy denies it.

        Args:
            own: the form of the URI that the provider knows.
        """
        shape = self.shapes.get(entry.provider, AS_IT_IS)
        if not (shape.offers("resources", uri) and shape.offers("resources", own)):
            return None
        tags, scopes = shape.tags("resources", uri), shape.scopes("resources", uri)
        found = replace(entry, exposed=uri, name=own, tags=entry.tags | tags, scopes=entry.scopes | scopes)
        return found if self.selection is None or self.selection.admits("resources", found) else None


def build(
    offers: Sequence[Offer],
    naming: Naming = Naming(),  # noqa: B008 (frozen)
    shapes: Mapping[str, Shape] = MappingProxyType({}),
    before: Catalog | None = None,
) -> Catalog:
    """A snapshot of the offers; their order is the order of every list and decides every collision.

    Args:
        shapes: by provider, what its configuration makes of its offer.
        before: the snapshot before this one: what did not change is taken from it, and not made again.
    """
    rejected: list[Rejection] = []
    made = _Made({} if before is None else before.made, shapes)
    tools = _listing("tools", offers, _named("tools", offers, naming, made, rejected))
    prompts = _listing("prompts", offers, _named("prompts", offers, naming, made, rejected))
    resources = _listing("resources", offers, _identified("resources", offers, made, rejected))
    matchers: dict[str, Template] = {}
    identified = _identified("templates", offers, made, rejected)
    templates = _listing("templates", offers, _parsed(identified, matchers, rejected))
    return Catalog(
        tools=tools,
        resources=resources,
        templates=templates,
        prompts=prompts,
        read_hints={o.provider: o.cache_hints["resources/read"] for o in offers if "resources/read" in o.cache_hints},
        rejected=tuple(rejected),
        renamed=tuple(_renamed(tools, naming, shapes)),
        matchers=tuple((matchers[entry.exposed], entry) for entry in templates.entries.values()),
        shapes=shapes,
        pages=_pages(tools),
        made=made.now,
    )


Shapes = Mapping[str, Shape]


def _named(
    kind: Kind, offers: Sequence[Offer], naming: Naming, made: _Made, rejected: list[Rejection]
) -> Iterator[Entry]:
    items: dict[Claim, Making] = {}
    for offer, making in _offered(kind, offers, made):
        claim = Claim(offer.provider, making.shown, offer.prefix)
        if claim in items:
            rejected.append(Rejection(kind, offer.provider, making.item.name, f"{claim.name!r} is there twice"))
        items.setdefault(claim, making)
    granted, refused = resolve(kind, tuple(items), naming)
    rejected.extend(refused)
    for exposed, claim in granted.items():
        making = items[claim]
        entry = making.entry
        if entry is None or (entry.exposed, entry.provider) != (exposed, claim.provider):
            item = making.item
            renamed = item if exposed == item.name else item.model_copy(update={"name": exposed})
            entry = Entry(exposed, claim.provider, item.name, _wire(renamed), making.tags, making.scopes)
            making.entry = entry
        yield entry


def _renamed(tools: Listing, naming: Naming, shapes: Shapes) -> Iterator[Renaming]:
    for entry in tools.entries.values():
        wished = shapes.get(entry.provider, AS_IT_IS).shown("tools", entry.name)
        if entry.exposed not in (wished, naming.prefixed(entry.provider, wished)):
            yield Renaming("tools", entry.provider, entry.name, entry.exposed)


def page_links(meta: Mapping[str, Any]) -> Iterator[str]:
    """The page that `_meta` of a tool or of its result names."""
    ui = meta.get("ui")
    named = [ui.get("resourceUri") if isinstance(ui, Mapping) else None, *(meta.get(key) for key in _PAGE_KEYS)]
    yield from (uri for uri in named if isinstance(uri, str) and uri)


def _pages(tools: Listing) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in tools.entries.values():
        for uri in page_links(entry.wire.get("_meta") or {}):
            found.setdefault(canonical(uri), Entry(uri, entry.provider, uri, {}))
    return found


def _identified(kind: Kind, offers: Sequence[Offer], made: _Made, rejected: list[Rejection]) -> Iterator[Entry]:
    owners: dict[str, str] = {}
    for offer, making in _offered(kind, offers, made):
        uri = making.own
        same = canonical(uri)
        if uri in owners or owners.get(same, offer.provider) != offer.provider:
            owner = owners.get(uri) or owners[same]
            rejected.append(Rejection(kind, offer.provider, uri, f"the URI is taken by {owner!r}"))
            continue
        owners[uri] = offer.provider
        owners.setdefault(same, offer.provider)
        if making.entry is None or making.entry.provider != offer.provider:
            making.entry = Entry(uri, offer.provider, uri, _wire(making.item), making.tags, making.scopes)
        yield making.entry


def _offered(kind: Kind, offers: Sequence[Offer], made: _Made) -> Iterator[tuple[Offer, Making]]:
    """What policy leaves of the offers. What it denies is no rejection: that is how it was meant."""
    for offer in offers:
        for item in _items(kind, offer):
            making = made.of(kind, offer.provider, item)
            if making.offered:
                yield offer, making


@dataclass(slots=True)
class Making:
    """One thing that a provider offers, and what its configuration makes of it."""

    item: Any
    shape: Shape
    own: str
    """Its name, URI or URI template, as the provider has it."""

    offered: bool
    """Whether policy leaves it in."""

    shown: str
    """What it is called before a prefix."""

    tags: frozenset[str]
    scopes: frozenset[str]
    entry: Entry | None = None


class _Made:
    """What is made of the offers, taken from the snapshot before where that had the same."""

    def __init__(self, before: Mapping[int, Making], shapes: Mapping[str, Shape]) -> None:
        self._before = before
        self._shapes = shapes
        self.now: dict[int, Making] = {}

    def of(self, kind: Kind, provider: str, item: Any) -> Making:
        """What is made of one thing: the same object, by the same configuration, becomes the same again."""
        shape = self._shapes.get(provider, AS_IT_IS)
        found = self._before.get(id(item))
        if found is None or found.item is not item or found.shape is not shape:
            own = str(getattr(item, _IDENTITY[kind]))
            found = Making(
                item, shape, own, shape.offers(kind, own), shape.shown(kind, own), shape.tags(kind, own),
                shape.scopes(kind, own),
            )  # fmt: skip
        self.now[id(item)] = found
        return found


def _parsed(entries: Iterator[Entry], matchers: dict[str, Template], rejected: list[Rejection]) -> Iterator[Entry]:
    for entry in entries:
        try:
            matchers[entry.exposed] = Template.parse(entry.exposed)
        except InvalidUriTemplate as error:
            rejected.append(Rejection("templates", entry.provider, entry.name, str(error)))
            continue
        yield entry


def _listing(kind: Kind, offers: Sequence[Offer], entries: Iterator[Entry]) -> Listing:
    by_name = {entry.exposed: entry for entry in entries}
    shown = {entry.provider for entry in by_name.values()}
    contributing = [offer for offer in offers if offer.provider in shown]
    hint = _merged([offer.cache_hints.get(METHODS[kind], _UNSTATED) for offer in contributing])
    page_size = _page_size(kind, contributing)
    return Listing(kind, by_name, page_size, hint, digest(by_name, page_size, hint))


def _page_size(kind: Kind, contributing: Sequence[Offer]) -> int:
    """A provider's wish counts for a list of its own alone: others' things must not move to later pages by it."""
    if len(contributing) != 1:
        return DEFAULT_PAGE_SIZE
    return min(max(1, contributing[0].page_sizes.get(kind, DEFAULT_PAGE_SIZE)), DEFAULT_PAGE_SIZE)


def _merged(hints: Sequence[CacheHint]) -> CacheHint:
    """A list is as fresh as its shortest-lived part, and as private as its most private one."""
    if not hints:
        return _UNSTATED
    private = any(hint.scope == "private" for hint in hints)
    return CacheHint(min(hint.ttl_ms for hint in hints), "private" if private else "public")


def digest(entries: Mapping[str, Entry], page_size: int, hint: CacheHint) -> str:
    """Equal for lists that are equal in everything that a client or a request could notice."""
    whole = hashlib.sha256(f"{page_size} {hint.ttl_ms} {hint.scope} ".encode())
    whole.update(b"".join(entry.digest for entry in entries.values()))
    return whole.hexdigest()[:16]


def _items(kind: Kind, offer: Offer) -> Sequence[Any]:
    items: Sequence[Any] = getattr(offer, kind)
    return items


def _wire(item: BaseModel) -> Mapping[str, Any]:
    return item.model_dump(by_alias=True, mode="json", exclude_none=True)
