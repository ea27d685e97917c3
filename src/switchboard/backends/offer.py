"""What a backend offers, and how it is asked: every page of every list, cleaned."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mcp.server.caching import CacheHint
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import x_mcp_header_map
from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate
from mcp_types import METHOD_NOT_FOUND, Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool

from switchboard import visible
from switchboard.backends import cleaning
from switchboard.backends.cleaning import Form, Unoffered
from switchboard.backends.description import Backend, Bounds
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.failures import BackendFailure
from switchboard.backends.line import Line
from switchboard.config import Prefix

Kind = Literal["tools", "resources", "templates", "prompts"]

PAGE_S: Final = 30.0

LISTS: Final[tuple[tuple[Kind, str, str, str, Form], ...]] = (
    ("tools", "tools", "tools/list", "tools", cleaning.TOOLS),
    ("resources", "resources", "resources/list", "resources", cleaning.RESOURCES),
    ("templates", "resources", "resources/templates/list", "resourceTemplates", cleaning.TEMPLATES),
    ("prompts", "prompts", "prompts/list", "prompts", cleaning.PROMPTS),
)
"""Kind, the capability that goes with it, method, the member that holds the items, and their form."""

ANNOUNCED: Final[Mapping[str, tuple[Kind, ...]]] = {
    "tools": ("tools",),
    "resources": ("resources", "templates"),
    "prompts": ("prompts",),
}
"""What one change notice covers."""


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

    matchers: tuple[UriTemplate, ...] = ()

    def tool(self, name: str) -> Tool | None:
        """A tool by the backend's own name for it."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def owns(self, uri: str) -> bool:
        """Whether a resource of that URI is, or may be, among them."""
        if any(str(resource.uri) == uri for resource in self.resources):
            return True
        return any(template.match(uri) is not None for template in self.matchers)

    def changes(self, before: BackendOffer) -> list[str]:
        """Which of tools, resources and prompts differ."""
        return [
            name
            for name, kinds in ANNOUNCED.items()
            if any(list(getattr(self, kind)) != list(getattr(before, kind)) for kind in kinds)
        ]


async def discover(backend: Backend, line: Line) -> BackendOffer:
    """Ask a backend everything that it offers.

    Raises:
        BackendFailure: it does not answer, or not as the protocol has it.
    """
    found: dict[str, Any] = {}
    unoffered: list[Unoffered] = []
    for kind, capability, method, member, form in LISTS:
        items = await _listed(line, backend.bounds, capability, method, member)
        # Checking thousands of schemas takes seconds; other requests are served meanwhile.
        found[kind], rest = await asyncio.to_thread(cleaning.clean, form, items, backend.bounds)
        unoffered += rest
    return offered(
        backend,
        found,
        instructions=_instructions(line),
        modern=line.wire.modern,
        capabilities=line.abilities,
        unoffered=tuple(unoffered),
    )


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


def _matchers(templates: Sequence[ResourceTemplate]) -> Iterator[UriTemplate]:
    for template in templates:
        try:
            yield UriTemplate.parse(template.uri_template)
        except InvalidUriTemplate:
            continue  # the catalog rejects it, and says so


async def _listed(line: Line, bounds: Bounds, capability: str, method: str, member: str) -> list[Any]:
    if getattr(line.abilities, capability) is None:
        return []
    items: list[Any] = []
    cursors: set[str] = set()
    cursor: str | None = None
    for _ in range(bounds.pages):
        page = await _page(line, method, cursor)
        listed = page.get(member)
        if not isinstance(listed, list):
            raise BackendFailure(f"its answer to {method} has no {member}")
        items += listed
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or cursor in cursors or len(items) > bounds.items:
            break
        cursors.add(cursor)
    return items


async def _page(line: Line, method: str, cursor: str | None) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PAGE_S):
            return await line.ask(method, None if cursor is None else {"cursor": cursor})
    except TimeoutError as error:
        raise BackendFailure(f"no answer to {method} within {PAGE_S:g} s") from error
    except MCPError as error:
        if error.code == METHOD_NOT_FOUND:
            return {member: [] for _, _, listed, member, _ in LISTS if listed == method}
        raise BackendFailure(f"{method}: {error.message}") from error


def _instructions(line: Line) -> str | None:
    given = line.session.instructions
    return visible.text(given) if given else None
