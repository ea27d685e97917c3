"""Tools that return content blocks of every kind."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)


async def _blocks(client: Client, tool: str, arguments: dict[str, Any]) -> list[ContentBlock]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error
    return result.content


async def test_the_tiny_image_is_a_png_between_two_texts(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        before, picture, after = await _blocks(client, "getTinyImage", {})
    assert isinstance(before, TextContent)
    assert isinstance(after, TextContent)
    assert isinstance(picture, ImageContent)
    assert picture.mime_type == "image/png"
    png = base64.b64decode(picture.data)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (64, 64)
    assert len(png) < 1000


async def test_the_tiny_image_can_be_decoded(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        picture = (await _blocks(client, "getTinyImage", {}))[1]
    assert isinstance(picture, ImageContent)
    rest, chunks = base64.b64decode(picture.data)[8:], {}
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, body, checksum = rest[4:8], rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert checksum == struct.pack(">I", zlib.crc32(kind + body))
        chunks[kind], rest = body, rest[12 + length :]
    lines = zlib.decompress(chunks[b"IDAT"])
    colours = len(chunks[b"PLTE"]) // 3
    assert len(lines) == 64 * (1 + 64)
    assert set(lines) == set(range(colours))


async def test_the_tiny_sound_can_be_played(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        _, sound = await _blocks(client, "getTinySound", {})
    assert isinstance(sound, AudioContent)
    assert sound.mime_type == "audio/wav"
    with wave.open(io.BytesIO(base64.b64decode(sound.data))) as played:
        assert (played.getnchannels(), played.getframerate(), played.getnframes()) == (1, 8000, 2000)


@pytest.mark.parametrize(
    ("kind", "priority", "audience"),
    [("error", 1.0, ["user", "assistant"]), ("success", 0.7, ["user"]), ("debug", 0.3, ["assistant"])],
)
async def test_a_message_is_annotated_by_its_kind(
    connect: Callable[..., Client], kind: str, priority: float, audience: list[str]
) -> None:
    async with connect() as client:
        (message,) = await _blocks(client, "annotatedMessage", {"messageType": kind})
    assert message.annotations is not None
    assert (message.annotations.priority, message.annotations.audience) == (priority, audience)


async def test_an_annotated_message_brings_an_image_when_asked(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        blocks = await _blocks(client, "annotatedMessage", {"messageType": "debug", "includeImage": True})
    assert isinstance(blocks[1], ImageContent)
    assert blocks[1].annotations is not None
    assert blocks[1].annotations.audience == ["user"]


async def test_a_resource_reference_embeds_what_reading_gives(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        for number, kind in ((1, TextResourceContents), (100, BlobResourceContents)):
            embedded = (await _blocks(client, "getResourceReference", {"resourceId": number}))[1]
            assert isinstance(embedded, EmbeddedResource)
            assert isinstance(embedded.resource, kind)
            read = await client.read_resource(f"test://static/resource/{number}")
            assert embedded.resource.model_dump() == read.contents[0].model_dump()


async def test_resource_links_lead_to_resources_that_exist(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        _, *links = await _blocks(client, "getResourceLinks", {"count": 4})
        assert len(links) == 4
        for link in links:
            assert isinstance(link, ResourceLink)
            assert (await client.read_resource(link.uri)).contents[0].mime_type == link.mime_type


async def test_structured_content_follows_the_published_schema(
    connect: Callable[..., Client], words: Callable[[CallToolResult], str]
) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        # The client checks the result against the schema and raises if it does not follow it.
        result = await client.call_tool("getStructuredContent", {"location": "Chicago"})
    schema = tools["getStructuredContent"].output_schema
    assert schema is not None
    assert schema["required"] == ["temperature", "conditions", "humidity"]
    assert result.structured_content == {"temperature": 4, "conditions": "Light rain", "humidity": 88}
    assert "Light rain" in words(result)
