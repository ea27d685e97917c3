"""Resources: a text, bytes, one to subscribe to, and a template."""

from __future__ import annotations

import json
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resources import BinaryResource, Resource, TextResource

from switchboard.conformance.media import PNG, pixel

TEMPLATE = "test://template/{id}/data"
TEXT, JSON = "text/plain", "application/json"


def all_resources() -> list[Resource]:
    """The listed ones."""
    return [
        TextResource(
            uri="test://static-text",
            name="Static text",
            description="A text that never changes.",
            mime_type=TEXT,
            text="This is the content of the static text resource.",
        ),
        BinaryResource(
            uri="test://static-binary",
            name="Static binary",
            description="A picture of one pixel.",
            mime_type=PNG,
            data=pixel(),
        ),
        TextResource(
            uri="test://watched-resource",
            name="Watched resource",
            description="A text to subscribe to.",
            mime_type=TEXT,
            text="Watched resource content",
        ),
    ]


async def _data(id: str) -> str:  # noqa: A002  the template names the argument
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def add_template(server: MCPServer[Any]) -> None:
    """Register the template."""
    describe = server.resource(TEMPLATE, name="Template", description="Data by its id.", mime_type=JSON)
    describe(_data)
