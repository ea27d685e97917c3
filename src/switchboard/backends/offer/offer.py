"""What a backend offers, as last known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from mcp.server.caching import CacheHint
from mcp.shared.inbound import x_mcp_header_map
from mcp.shared.uri_template import InvalidUriTemplate
from mcp_types import Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool

from switchboard.backends.config import Backend
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.offer import sanitize
from switchboard.backends.offer.sanitize import Form, Unoffered
from switchboard.config import Prefix
from switchboard.protocol.changes import LIST_CHANGES
from switchboard.protocol.resource_uris import Template, canonical

Kind = Literal["tools", "resources", "templates", "prompts"]

LISTS: Final[tuple[tuple[Kind, str, str, str, Form], ...]] = (
    ("tools", "tools", "tools/list", "tools", sanitize.TOOLS),
    ("resources", "resources", "resources/list", "resources", sanitize.RESOURCES),
    ("templates", "resources", "resources/templates/list", "resourceTemplates", sanitize.TEMPLATES),
    ("prompts", "prompts", "prompts/list", "prompts", sanitize.PROMPTS),
)
"""Kind, the capability that goes with it, method, the member that holds the items, and their form."""


@dataclass(frozen=True)
class BackendOffer:
    """What a backend offers, as last known. Satisfies `switchboard.catalog.Offer`."""

    provider: str
    prefix: Prefix
    tools: Sequence[Tool] = ()
    resources: Sequence[Resource] = ()
    templates: Sequence[ResourceTemplate] = ()
    prompts: Sequence[Prompt] = ()
    page_sizes: Mapping[Kind, int] = field(default_factory=dict)
    cache_hints: Mapping[str, CacheHint] = field(default_factory=dict)
    instructions: str | None = None
    modern: bool = False
    """Whether it was reached in the modern era."""

    capabilities: ServerCapabilities = field(default_factory=ServerCapabilities)
    unoffered: tuple[Unoffered, ...] = ()
    headers: Mapping[str, HeaderMap] = field(default_factory=dict)
    """Tool → the arguments that are mirrored into HTTP headers."""

    matchers: tuple[Template, ...] = ()

    def tool(self, name: str) -> Tool | None:
        """A tool by the backend's own name for it."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def own(self, uri: str) -> str | None:
        """The form of a URI that the backend knows; `None` if no resource of it is, or may be, among them."""
        if (listed := self._forms.get(uri) or self._forms.get(canonical(uri))) is not None:
            return listed
        return next((own for template in self.matchers if (own := template.own(uri)) is not None), None)

    @cached_property
    def _forms(self) -> Mapping[str, str]:
        uris = [str(resource.uri) for resource in reversed(self.resources)]
        return {**{canonical(uri): uri for uri in uris}, **{uri: uri for uri in uris}}

    def changes(self, before: BackendOffer) -> list[str]:
        """Which of tools, resources and prompts differ."""
        return [
            kind
            for kind, change in LIST_CHANGES.items()
            if any(list(getattr(self, one)) != list(getattr(before, one)) for one in change.lists)
        ]


def offered(
    backend: Backend,
    found: Mapping[str, Any],
    *,
    instructions: str | None,
    modern: bool,
    capabilities: ServerCapabilities,
    unoffered: tuple[Unoffered, ...] = (),
) -> BackendOffer:
    """The offer that these definitions make, by kind."""
    return BackendOffer(
        provider=backend.name,
        prefix=backend.prefix,
        **found,
        instructions=instructions,
        modern=modern,
        capabilities=capabilities,
        unoffered=unoffered,
        matchers=tuple(_matchers(found["templates"])),
        headers={tool.name: mirrored for tool in found["tools"] if (mirrored := x_mcp_header_map(tool.input_schema))},
    )


def _matchers(templates: Sequence[ResourceTemplate]) -> Iterator[Template]:
    for template in templates:
        try:
            yield Template.parse(template.uri_template)
        except InvalidUriTemplate:
            continue  # the catalog rejects it, and says so
