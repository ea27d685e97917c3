"""Tools that answer at once: every kind of content block, and an error."""

from __future__ import annotations

from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import AudioContent, ContentBlock, EmbeddedResource, ImageContent, TextContent, TextResourceContents

from switchboard.conformance.fixture import Fixture
from switchboard.conformance.media import PNG, WAV, encoded, pixel, silence


def image() -> ImageContent:
    """The picture as a content block."""
    return ImageContent(data=encoded(pixel()), mime_type=PNG)


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    """A text resource as a content block."""
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


async def simple_text() -> list[ContentBlock]:
    """Return a line of text."""
    return [TextContent(text="This is a simple text response for testing.")]


async def image_content() -> list[ContentBlock]:
    """Return a picture."""
    return [image()]


async def audio_content() -> list[ContentBlock]:
    """Return a sound."""
    return [AudioContent(data=encoded(silence()), mime_type=WAV)]


async def embedded_resource() -> list[ContentBlock]:
    """Return a resource inside the result."""
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


async def multiple_content_types() -> list[ContentBlock]:
    """Return text, a picture and a resource."""
    text = TextContent(text="Multiple content types test:")
    return [text, image(), embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")]


async def error_handling() -> list[ContentBlock]:
    """Fail, always, in a way that a model can read."""
    raise ToolError("This tool intentionally returns an error for testing")


TOOLS = (
    Fixture(simple_text, "test_simple_text"),
    Fixture(image_content, "test_image_content"),
    Fixture(audio_content, "test_audio_content"),
    Fixture(embedded_resource, "test_embedded_resource"),
    Fixture(multiple_content_types, "test_multiple_content_types"),
    Fixture(error_handling, "test_error_handling"),
)
"""The first one is what the suite calls to probe headers: it must succeed with `{}`."""
