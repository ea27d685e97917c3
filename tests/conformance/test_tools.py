"""What the tools do when they are called."""

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
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    LoggingMessageNotificationParams,
)

from tools.conformance.fixtures import forms

Connect = Callable[..., Client]
Words = Callable[[CallToolResult], str]


async def test_the_picture_is_a_picture_and_the_sound_a_sound(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        picture = (await client.call_tool("test_image_content")).content[0]
        sound = (await client.call_tool("test_audio_content")).content[0]
    assert isinstance(picture, ImageContent)
    assert isinstance(sound, AudioContent)
    assert _png_size(base64.b64decode(picture.data)) == (1, 1)
    with wave.open(io.BytesIO(base64.b64decode(sound.data))) as played:
        assert played.getnframes() == 80
    assert (picture.mime_type, sound.mime_type) == ("image/png", "audio/wav")


def _png_size(data: bytes) -> tuple[int, ...]:
    """Walk the chunks, check each checksum, and return the size that the header states."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, size = 8, (0, 0)
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        place += length + 12
    return size


async def test_embedded_resources_carry_their_type(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        mixed = await client.call_tool("test_multiple_content_types")
    assert [block.type for block in mixed.content] == ["text", "image", "resource"]
    resource = mixed.content[2]
    assert isinstance(resource, EmbeddedResource)
    assert resource.resource.mime_type == "application/json"


async def test_the_failing_tool_fails_in_words(connect: Connect, words: Words, mode: str) -> None:
    async with connect(mode) as client:
        failed = await client.call_tool("test_error_handling")
    assert failed.is_error
    assert "intentionally returns an error" in words(failed)


async def test_progress_goes_from_none_to_all(connect: Connect, mode: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with connect(mode) as client:
        await client.call_tool("test_tool_with_progress", progress_callback=hear)
    assert heard == [0, 50, 100]


async def test_log_messages_reach_a_handshake_client(connect: Connect) -> None:
    heard: list[Any] = []

    async def hear(params: LoggingMessageNotificationParams) -> None:
        heard.append(params.data)

    async with connect("legacy", logging_callback=hear) as client:
        await client.call_tool("test_tool_with_logging")
    assert heard == ["Tool execution started", "Tool processing data", "Tool execution completed"]


async def test_a_modern_client_that_states_no_level_hears_no_log_message(connect: Connect) -> None:
    heard: list[Any] = []

    async def hear(params: LoggingMessageNotificationParams) -> None:
        heard.append(params.data)

    async with connect("auto", logging_callback=hear) as client:
        done = await client.call_tool("test_logging_tool")
    assert not done.is_error
    assert heard == []


async def test_a_handshake_client_is_asked_while_the_call_waits(connect: Connect, words: Words, person: Any) -> None:
    async with connect("legacy") as client:
        sampled = await client.call_tool("test_sampling", {"prompt": "What is the capital of France?"})
        elicited = await client.call_tool("test_streaming_elicitation")
        for name in ("test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"):
            assert "action=accept" in words(await client.call_tool(name))
    assert words(sampled) == "LLM response: Paris."
    assert "Ada" in words(elicited)
    assert person.forms[1:] == [dict(forms.DEFAULTS), dict(forms.ENUMS)]


async def test_a_client_without_sampling_is_refused_as_its_protocol_version_demands(
    server: MCPServer[Any], words: Words
) -> None:
    async with Client(server, mode="legacy") as client:
        assert "has not declared: sampling" in words(await client.call_tool("test_missing_capability"))
    async with Client(server, mode="auto") as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("test_missing_capability")
    assert refused.value.error.code == MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refused.value.error.data == {"requiredCapabilities": {"sampling": {}}}


async def test_a_change_is_announced_to_whoever_listens(server: MCPServer[Any], connect: Connect) -> None:
    announced: list[str] = []
    server._subscriptions.subscribe(lambda event: announced.append(type(event).__name__))
    async with connect("auto") as client:
        await client.call_tool("test_trigger_tool_change")
        await client.call_tool("test_trigger_prompt_change")
    assert announced == ["ToolsListChanged", "PromptsListChanged"]
