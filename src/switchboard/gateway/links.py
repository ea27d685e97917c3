"""Links to resources that providers hand out: what may be read although no list has it.

"Resource links returned by tools are not guaranteed to appear in the results of a resources/list request."
https://modelcontextprotocol.io/specification/2025-11-25/server/tools#resource-links
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from mcp_types import (
    CallToolResult,
    EmbeddedResource,
    GetPromptResult,
    ReadResourceResult,
    ResourceLink,
    TextContent,
)

from switchboard.catalog import Catalog
from switchboard.catalog.snapshot import page_links
from switchboard.protocol.direct_requests import TextResult


class Links(Protocol):
    """Who gave which link to the principal of the request being served."""

    async def note(self, provider: str, uris: Sequence[str]) -> None:
        """Remember that this provider gave these; the latest of several providers counts."""
        ...

    async def giver(self, uri: str) -> tuple[str, str] | None:
        """The provider that gave this URI, and the form in which it did."""
        ...


class NoLinks:
    """Remembers nothing."""

    async def note(self, provider: str, uris: Sequence[str]) -> None:
        """Forget it."""

    async def giver(self, uri: str) -> tuple[str, str] | None:
        """Nobody that is known."""
        return None


def has_links(result: Any) -> bool:
    """Whether there may be links in a result: not in one of texts, which most are."""
    if type(result) is not CallToolResult or result.meta is not None:
        return type(result) is not TextResult
    return any(type(block) is not TextContent for block in result.content)


def to_note(catalog: Catalog, provider: str, result: Any) -> list[str]:
    """The links in a result that would not lead to its provider by themselves, each once."""
    return [uri for uri in dict.fromkeys(_handed_out(result)) if not _is_known(catalog, provider, uri)]


def _is_known(catalog: Catalog, provider: str, uri: str) -> bool:
    if catalog.owner_of(uri) is not None:
        return True
    found = catalog.reader_of(uri)
    return found is not None and found.provider == provider


def _handed_out(result: Any) -> Iterator[str]:
    if isinstance(result, CallToolResult):
        yield from _of_blocks(result.content)
    elif isinstance(result, GetPromptResult):
        yield from _of_blocks(message.content for message in result.messages)
    elif isinstance(result, ReadResourceResult):
        yield from (str(contents.uri) for contents in result.contents)
    else:
        return
    if isinstance(result.meta, Mapping):
        yield from page_links(result.meta)


def _of_blocks(blocks: Iterable[Any]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, ResourceLink):
            yield str(block.uri)
        elif isinstance(block, EmbeddedResource):
            yield str(block.resource.uri)
