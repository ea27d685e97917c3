"""Tools that return every kind of content block: image, audio, annotated text, embedded resource, resource link."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from mcp_types import (
    Annotations,
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceLink,
    TextContent,
)
from pydantic import Field

from switchboard.everything import resources
from switchboard.everything.declared import PURE, Declared
from switchboard.everything.tools.media import tiny_png, tiny_wav

ResourceId = Annotated[int, Field(description="The number of the resource.", ge=1, le=resources.COUNT)]

_MESSAGES: dict[str, tuple[str, Annotations]] = {
    "error": ("Error: the line is dead.", Annotations(priority=1.0, audience=["user", "assistant"])),
    "success": ("The call was put through.", Annotations(priority=0.7, audience=["user"])),
    "debug": ("Debug: 17 of 40 jacks in use, 3 ms to connect.", Annotations(priority=0.3, audience=["assistant"])),
}


_PICTURE = base64.b64encode(tiny_png()).decode()

_ICON = Icon(src=f"data:image/png;base64,{_PICTURE}", mime_type="image/png", sizes=["64x64"])


def image(annotations: Annotations | None = None) -> ImageContent:
    """The switchboard icon as a content block."""
    return ImageContent(data=_PICTURE, mime_type="image/png", annotations=annotations)


async def get_tiny_image() -> list[ContentBlock]:
    """Return a small PNG picture of a switchboard, between two lines of text."""
    return [TextContent(text="This is a tiny image:"), image(), TextContent(text="It shows a switchboard.")]


async def get_tiny_sound() -> list[ContentBlock]:
    """Return a quarter of a second of a ringing telephone line, as WAV audio."""
    data = base64.b64encode(tiny_wav()).decode()
    return [TextContent(text="This is a tiny sound:"), AudioContent(data=data, mime_type="audio/wav")]


async def annotated_message(
    messageType: Annotated[  # noqa: N803  the argument's public name
        Literal["error", "success", "debug"], Field(description="The kind of message; each has its own annotations.")
    ],
    includeImage: Annotated[bool, Field(description="Whether to add an annotated image.")] = False,  # noqa: N803
) -> list[ContentBlock]:
    """Return a message annotated with its priority and its audience, to see what a client makes of annotations."""
    text, annotations = _MESSAGES[messageType]
    blocks: list[ContentBlock] = [TextContent(text=text, annotations=annotations)]
    if includeImage:
        blocks.append(image(Annotations(priority=0.5, audience=["user"])))
    return blocks


async def get_resource_reference(resourceId: ResourceId) -> list[ContentBlock]:  # noqa: N803  the public name
    """Return one of the static resources embedded in the result, with its URI."""
    found = resources.contents(resourceId)
    return [
        TextContent(text=f"Returning resource reference for Resource {resourceId}:"),
        EmbeddedResource(resource=found),
        TextContent(text=f"You can access this resource using the URI: {found.uri}"),
    ]


async def get_resource_links(
    count: Annotated[int, Field(description="How many links to return.", ge=1, le=10)] = 3,
) -> list[ContentBlock]:
    """Return links to static resources, which the client may read if it wants to."""
    links = [_link(number) for number in range(1, count + 1)]
    return [TextContent(text=f"Links to {count} of {resources.COUNT} resources:"), *links]


def _link(number: int) -> ResourceLink:
    mime_type = resources.TEXT if resources.is_text(number) else resources.BLOB
    return ResourceLink(uri=resources.uri_of(number), name=f"Resource {number}", mime_type=mime_type)


TOOLS = (
    Declared(get_tiny_image, "getTinyImage", "Get a tiny image", PURE, icons=(_ICON,)),
    Declared(annotated_message, "annotatedMessage", "Annotated message", PURE),
    Declared(get_resource_reference, "getResourceReference", "Get an embedded resource", PURE),
    Declared(get_resource_links, "getResourceLinks", "Get resource links", PURE),
    Declared(get_tiny_sound, "getTinySound", "Get a tiny sound", PURE),
)
