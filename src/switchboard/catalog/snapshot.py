"""The snapshot: everything that every provider offers, resolved into one view.

Resources are not renamed: a URI is an identity that text, links and subscriptions carry around. Their collision rule:

1. The first provider in order that offers a URI (or a URI template, compared as text) owns it; later ones are rejected.
2. Reading: a listed URI beats every template; among templates the first in catalog order that matches is asked, and its
   answer stands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mcp.server.caching import CacheHint
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from mcp_types import Prompt, Resource, ResourceTemplate, Tool
from pydantic import BaseModel

from switchboard.catalog.naming import Claim, Naming, Prefix, Rejection, resolve
from switchboard.catalog.pages import DEFAULT_PAGE_SIZE, Entry, Listing
from switchboard.plugins.api import Kind

__all__ = ["Catalog", "Entry", "Offer", "build"]

METHODS: Mapping[Kind, str] = {
    "tools": "tools/list",
    "resources": "resources/list",
    "templates": "resources/templates/list",
    "prompts": "prompts/list",
}
_IDENTITY: Mapping[Kind, str] = {"tools": "name", "resources": "uri", "templates": "uri_template", "prompts": "name"}
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
    matchers: tuple[tuple[UriTemplate, Entry], ...]

    @property
    def digest(self) -> str:
        """Equal for equal offers, on every worker."""
        return ".".join(listing.digest for listing in self.listings)

    @property
    def listings(self) -> tuple[Listing, ...]:
        """The four lists."""
        return self.tools, self.resources, self.templates, self.prompts

    def reader_of(self, uri: str) -> Entry | None:
        """Whose resource this is, by its URI or by a template that matches it."""
        listed = self.resources.find(uri)
        if listed is not None:
            return listed
        return next((entry for template, entry in self.matchers if template.match(uri) is not None), None)


def build(offers: Sequence[Offer], naming: Naming = Naming()) -> Catalog:  # noqa: B008 (frozen)
    """A snapshot of the offers; their order is the order of every list and decides every collision."""
    rejected: list[Rejection] = []
    tools = _listing("tools", offers, _named("tools", offers, naming, rejected))
    prompts = _listing("prompts", offers, _named("prompts", offers, naming, rejected))
    resources = _listing("resources", offers, _identified("resources", offers, rejected))
    matchers: dict[str, UriTemplate] = {}
    templates = _listing("templates", offers, _parsed(_identified("templates", offers, rejected), matchers, rejected))
    return Catalog(
        tools=tools,
        resources=resources,
        templates=templates,
        prompts=prompts,
        read_hints={o.provider: o.cache_hints["resources/read"] for o in offers if "resources/read" in o.cache_hints},
        rejected=tuple(rejected),
        matchers=tuple((matchers[entry.exposed], entry) for entry in templates.entries.values()),
    )


def _named(kind: Kind, offers: Sequence[Offer], naming: Naming, rejected: list[Rejection]) -> Iterator[Entry]:
    items = {Claim(offer.provider, item.name, offer.prefix): item for offer in offers for item in _items(kind, offer)}
    granted, refused = resolve(kind, tuple(items), naming)
    rejected.extend(refused)
    for exposed, claim in granted.items():
        item = items[claim]
        renamed = item if exposed == claim.name else item.model_copy(update={"name": exposed})
        yield Entry(exposed, claim.provider, claim.name, _wire(renamed))


def _identified(kind: Kind, offers: Sequence[Offer], rejected: list[Rejection]) -> Iterator[Entry]:
    owners: dict[str, str] = {}
    for offer in offers:
        for item in _items(kind, offer):
            uri = str(getattr(item, _IDENTITY[kind]))
            if uri in owners:
                rejected.append(Rejection(kind, offer.provider, uri, f"the URI is taken by {owners[uri]!r}"))
                continue
            owners[uri] = offer.provider
            yield Entry(uri, offer.provider, uri, _wire(item))


def _parsed(entries: Iterator[Entry], matchers: dict[str, UriTemplate], rejected: list[Rejection]) -> Iterator[Entry]:
    for entry in entries:
        try:
            matchers[entry.exposed] = UriTemplate.parse(entry.exposed)
        except InvalidUriTemplate as error:
            rejected.append(Rejection("templates", entry.provider, entry.name, str(error)))
            continue
        yield entry


def _listing(kind: Kind, offers: Sequence[Offer], entries: Iterator[Entry]) -> Listing:
    by_name = {entry.exposed: entry for entry in entries}
    shown = {entry.provider for entry in by_name.values()}
    contributing = [offer for offer in offers if offer.provider in shown]
    sizes = (offer.page_sizes.get(kind, DEFAULT_PAGE_SIZE) for offer in contributing)
    hint = _merged([offer.cache_hints.get(METHODS[kind], _UNSTATED) for offer in contributing])
    page_size = min([DEFAULT_PAGE_SIZE, *(max(1, size) for size in sizes)])
    return Listing(kind, by_name, page_size, hint, _digest(by_name, page_size, hint))


def _merged(hints: Sequence[CacheHint]) -> CacheHint:
    """A list is as fresh as its shortest-lived part, and as private as its most private one."""
    if not hints:
        return _UNSTATED
    private = any(hint.scope == "private" for hint in hints)
    return CacheHint(min(hint.ttl_ms for hint in hints), "private" if private else "public")


def _digest(entries: Mapping[str, Entry], page_size: int, hint: CacheHint) -> str:
    shape = [[entry.provider, entry.name, entry.wire] for entry in entries.values()]
    text = json.dumps([shape, page_size, hint.ttl_ms, hint.scope], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _items(kind: Kind, offer: Offer) -> Sequence[Any]:
    items: Sequence[Any] = getattr(offer, kind)
    return items


def _wire(item: BaseModel) -> Mapping[str, Any]:
    return item.model_dump(by_alias=True, mode="json", exclude_none=True)
