"""Prompts: plain, with arguments, with a resource, with a picture, and one that asks first."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer, Message, UserMessage
from mcp.server.mcpserver.prompts import Prompt
from pydantic import Field

from switchboard.conformance.content import embedded, image
from switchboard.conformance.rounds import prompted

WITH_ARGUMENTS = "test_prompt_with_arguments"


async def _simple() -> list[Message]:
    return [UserMessage("This is a simple prompt for testing.")]


async def _with_arguments(
    arg1: Annotated[str, Field(description="First test argument")],
    arg2: Annotated[str, Field(description="Second test argument")],
) -> list[Message]:
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


async def _with_resource(
    resourceUri: Annotated[str, Field(description="The URI of the resource to embed")],  # noqa: N803  the public name
) -> list[Message]:
    resource = UserMessage(embedded(resourceUri, "Embedded resource content for testing."))
    return [resource, UserMessage("Please process the embedded resource above.")]


async def _with_image() -> list[Message]:
    return [UserMessage(image()), UserMessage("Please analyze the image above.")]


_PROMPTS = (
    (_simple, "test_simple_prompt", "A prompt without arguments."),
    (_with_arguments, WITH_ARGUMENTS, "A prompt with two required arguments."),
    (_with_resource, "test_prompt_with_embedded_resource", "A prompt with a resource inside."),
    (_with_image, "test_prompt_with_image", "A prompt with a picture."),
    (prompted, "test_input_required_result_prompt", "A prompt that first asks the user for its context."),
)


def add_to(server: MCPServer[Any]) -> None:
    """Register the prompts."""
    for fn, name, description in _PROMPTS:
        server.add_prompt(Prompt.from_function(fn, name=name, description=description))
