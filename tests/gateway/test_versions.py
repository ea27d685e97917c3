"""A client gets what its protocol version knows, and never an internal error for the rest."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    GetPromptResult,
    PromptMessage,
    ResourceLink,
    TextContent,
)
from mcp_types.methods import serialize_server_result

from switchboard.protocol.versions import fitted_definition, fitted_result
from tests.gateway.conftest import OpenGateway

LINK = ResourceLink(type="resource_link", uri="report://q1", name="q1", description="First quarter")
AUDIO = AudioContent(type="audio", data="AAAA", mime_type="audio/wav")
HANDSHAKE = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


def content(version: str, *blocks: ContentBlock) -> list[ContentBlock]:
    fitted = fitted_result(version, CallToolResult(content=list(blocks)))
    assert isinstance(fitted, CallToolResult)
    return fitted.content


@pytest.mark.parametrize("version", HANDSHAKE)
@pytest.mark.parametrize("structured", [[1, 2], "text", 5, 0, False, [], ""])
def test_structured_content_that_is_no_object_reaches_an_earlier_client_as_text(version: str, structured: Any) -> None:
    result = fitted_result(version, CallToolResult(content=[], structured_content=structured))
    assert isinstance(result, CallToolResult)
    assert result.structured_content is None
    assert [block.text for block in result.content if isinstance(block, TextContent)] == [
        str(structured).replace("False", "false") if structured != "text" and structured != "" else f'"{structured}"'
    ]
    serialize_server_result("tools/call", version, result.model_dump(by_alias=True, mode="json", exclude_none=True))


def test_structured_content_goes_as_it_is_where_it_is_an_object_or_the_version_takes_anything() -> None:
    for version, structured in (("2025-06-18", {"a": 1}), ("2026-07-28", [1]), ("2026-07-28", "x")):
        given = CallToolResult(content=[TextContent(type="text", text="said")], structured_content=structured)
        assert fitted_result(version, given) == given


def test_what_a_tool_says_in_words_is_not_said_twice() -> None:
    given = CallToolResult(content=[TextContent(type="text", text="[1]")], structured_content=[1])
    result = fitted_result("2025-11-25", given)
    assert isinstance(result, CallToolResult)
    assert len(result.content) == 1


def test_a_link_is_words_for_a_client_that_knows_none() -> None:
    assert content("2025-06-18", LINK) == [LINK]
    for version in ("2024-11-05", "2025-03-26"):
        (block,) = content(version, LINK)
        assert isinstance(block, TextContent)
        assert block.text == "q1 First quarter <report://q1>"


def test_audio_is_an_embedded_file_for_a_client_that_knows_none() -> None:
    assert content("2025-03-26", AUDIO) == [AUDIO]
    (block,) = content("2024-11-05", AUDIO)
    assert isinstance(block, EmbeddedResource)
    assert block.resource.model_dump(exclude_none=True)["blob"] == "AAAA"
    assert block.resource.mime_type == "audio/wav"


def test_the_messages_of_a_prompt_are_fitted_too() -> None:
    given = GetPromptResult(messages=[PromptMessage(role="user", content=LINK)])
    result = fitted_result("2024-11-05", given)
    assert isinstance(result, GetPromptResult)
    assert isinstance(result.messages[0].content, TextContent)
    assert fitted_result("2025-06-18", given) == given


@pytest.mark.parametrize("version", HANDSHAKE)
def test_a_schema_of_results_that_are_no_objects_is_kept_from_earlier_clients(version: str) -> None:
    listed = {"name": "t", "inputSchema": {"type": "object"}}
    for schema in ({"type": "array"}, {"$ref": "#/$defs/R"}, {}, {"type": ["object", "null"]}):
        assert fitted_definition(version, {**listed, "outputSchema": schema}) == listed
        assert fitted_definition("2026-07-28", {**listed, "outputSchema": schema})["outputSchema"] == schema
    object_schema = {**listed, "outputSchema": {"type": "object"}}
    assert fitted_definition(version, object_schema) == object_schema


async def test_clients_of_both_eras_get_a_list_that_a_tool_gave(open_gateway: OpenGateway) -> None:
    server: MCPServer[Any] = MCPServer("p")

    @server.tool(structured_output=False)
    def numbers() -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="[1,2]")], structured_content=[1, 2])

    async with open_gateway((server, "never")) as opened:
        for mode, structured in (("legacy", None), ("auto", [1, 2])):
            async with Client(opened.server, mode=mode) as client:
                result = await client.call_tool("numbers")
                assert [block.text for block in result.content if isinstance(block, TextContent)] == ["[1,2]"]
                assert result.structured_content == structured
