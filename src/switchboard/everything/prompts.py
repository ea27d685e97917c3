"""Prompts: without arguments, with arguments, and with a resource inside."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import AssistantMessage, MCPServer, Message, UserMessage
from mcp.server.mcpserver.prompts import Prompt
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, EmbeddedResource
from pydantic import Field

from switchboard.everything import resources
from switchboard.everything.tools.content import image

SIMPLE, COMPLEX, RESOURCE = "simple_prompt", "complex_prompt", "resource_prompt"


async def _simple() -> list[Message]:
    return [UserMessage("This is a simple prompt without arguments.")]


async def _complex(
    temperature: Annotated[str, Field(description="How daring the answer may be.")],
    style: Annotated[str, Field(description="How the answer should sound.")] = "",
) -> list[Message]:
    asked = f"temperature={temperature}" + (f", style={style}" if style else "")
    return [
        UserMessage(f"This is a complex prompt with arguments: {asked}"),
        AssistantMessage("Understood. What would you like to know about the picture?"),
        UserMessage(image()),
    ]


async def _resource(
    resourceId: Annotated[str, Field(description=f"Which resource to include (1-{resources.COUNT}).")],  # noqa: N803
) -> list[Message]:
    number = resources.number_of(resources.TEMPLATE.format(id=resourceId))
    if number is None:
        raise MCPError(
            code=INVALID_PARAMS,
            message=f"Invalid resourceId {resourceId!r}: use a number from 1 to {resources.COUNT}.",
        )
    return [
        UserMessage(f"This prompt includes Resource {number}. Please analyze it:"),
        UserMessage(EmbeddedResource(resource=resources.contents(number))),
    ]


_PROMPTS = (
    (_simple, SIMPLE, "Simple prompt", "A prompt without arguments."),
    (_complex, COMPLEX, "Complex prompt", "A prompt with a required and an optional argument, and an image."),
    (_resource, RESOURCE, "Resource prompt", "A prompt with a resource embedded in it."),
)


def add_to(server: MCPServer[Any]) -> None:
    """Register the prompts."""
    for fn, name, title, description in _PROMPTS:
        server.add_prompt(Prompt.from_function(fn, name=name, title=title, description=description))
