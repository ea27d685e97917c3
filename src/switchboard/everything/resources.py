"""One hundred resources that never change: odd ones are text, even ones are bytes."""

from __future__ import annotations

import base64
import re
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.server.mcpserver.resources import BinaryResource, Resource, TextResource
from mcp_types import BlobResourceContents, TextResourceContents

COUNT = 100
TEMPLATE = "test://static/resource/{id}"
PAGE = 10
TEXT, BLOB = "text/plain", "application/octet-stream"

_URI = re.compile(r"test://static/resource/([1-9][0-9]{0,2})")


def uri_of(number: int) -> str:
    """The URI of a resource by its number."""
    return TEMPLATE.format(id=number)


def number_of(uri: str) -> int | None:
    """The number of the resource with this URI, or `None` when there is no such resource."""
    found = _URI.fullmatch(uri)
    return int(found[1]) if found and int(found[1]) <= COUNT else None


def is_text(number: int) -> bool:
    """Whether a resource is text (else it is bytes)."""
    return number % 2 == 1


def _words(number: int) -> str:
    return f"Resource {number}: " + ("plain text." if is_text(number) else "bytes, sent as base64.")


def contents(number: int) -> TextResourceContents | BlobResourceContents:
    """What reading a resource gives, for embedding it in a message."""
    if is_text(number):
        return TextResourceContents(uri=uri_of(number), mime_type=TEXT, text=_words(number))
    blob = base64.b64encode(_words(number).encode()).decode()
    return BlobResourceContents(uri=uri_of(number), mime_type=BLOB, blob=blob)


def _resource(number: int) -> Resource:
    uri, name, words = uri_of(number), f"Resource {number}", _words(number)
    if is_text(number):
        return TextResource(uri=uri, name=name, description="A static text.", mime_type=TEXT, text=words)
    return BinaryResource(uri=uri, name=name, description="A static blob.", mime_type=BLOB, data=words.encode())


def all_resources() -> list[Resource]:
    """The resources in the order of their numbers."""
    return [_resource(number) for number in range(1, COUNT + 1)]


async def _by_id(id: str) -> str:  # noqa: A002  the template names the argument
    # The hundred are registered one by one and are found first: only what does not exist arrives here.
    raise ResourceNotFoundError(f"There is no resource {id!r}: use a number from 1 to {COUNT}.")


def add_template(server: MCPServer[Any]) -> None:
    """Register the template that tells clients how the URIs are made."""
    describe = server.resource(
        TEMPLATE,
        name="Static resource",
        title="A static resource by number",
        description=f"Resources 1 to {COUNT}: odd ones are text, even ones are bytes.",
        mime_type=TEXT,
    )
    describe(_by_id)
