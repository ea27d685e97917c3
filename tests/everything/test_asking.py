"""Tools that ask the client: sampling, roots, elicitation by form and by URL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestURLParams,
    ElicitResult,
    ErrorData,
    ImageContent,
    ListRootsResult,
    Root,
    TextContent,
)
from pydantic import FileUrl

Words = Callable[[CallToolResult], str]
OpenRaw = Callable[[str, Mapping[str, Any]], AbstractAsyncContextManager[Any]]

NEEDS = {
    "sampleLLM": ({"prompt": "hello"}, "sampling", {"sampling": {}}),
    "listRoots": ({}, "roots", {"roots": {}}),
    "elicitInputs": ({}, "elicitation.form", {"elicitation": {"form": {}}}),
    "multiRoundTrip": ({}, "elicitation.form", {"elicitation": {"form": {}}}),
    "elicitUrl": ({}, "elicitation.url", {"elicitation": {"url": {}}}),
}


@pytest.mark.parametrize("tool", NEEDS)
async def test_a_handshake_client_without_the_capability_gets_a_tool_error_that_names_it(
    server: MCPServer[Any], words: Words, tool: str
) -> None:
    arguments, name, _ = NEEDS[tool]
    async with Client(server, mode="legacy") as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert f"needs a client that declares the capability {name!r}" in words(result)


@pytest.mark.parametrize("tool", NEEDS)
async def test_a_modern_client_without_the_capability_gets_the_error_of_its_specification(
    server: MCPServer[Any], tool: str
) -> None:
    arguments, name, required = NEEDS[tool]
    async with Client(server, mode="auto") as client:
        with pytest.raises(MCPError, match=name) as refused:
            await client.call_tool(tool, arguments)
    assert refused.value.error.code == MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refused.value.error.data == {"requiredCapabilities": required}


@pytest.mark.parametrize(
    ("capabilities", "tool", "name"),
    [
        ({"elicitation": {}}, "elicitUrl", "elicitation.url"),
        ({"elicitation": {"form": {}}}, "elicitUrl", "elicitation.url"),
        ({"elicitation": {"url": {}}}, "elicitInputs", "elicitation.form"),
    ],
)
async def test_forms_and_urls_are_separate_capabilities(
    handshake: OpenRaw, capabilities: dict[str, Any], tool: str, name: str
) -> None:
    async with handshake("2025-11-25", capabilities) as client:
        answer = await client.request("tools/call", {"name": tool, "arguments": {}})
    assert answer["result"]["isError"] is True
    assert repr(name) in answer["result"]["content"][0]["text"]


@pytest.mark.parametrize(("tool", "arguments"), [("sampleLLM", {"prompt": "hello"}), ("listRoots", {})])
async def test_without_a_way_back_to_the_client_the_call_fails_and_does_not_hang(
    server: MCPServer[Any], words: Words, tool: str, arguments: dict[str, Any]
) -> None:
    async def never_sampled(context: Any, params: Any) -> Any:
        raise AssertionError("the SDK alone cannot ask a modern client in the middle of a call")

    async def never_listed(context: Any) -> Any:
        raise AssertionError("the SDK alone cannot ask a modern client in the middle of a call")

    async with Client(server, mode="auto", sampling_callback=never_sampled, list_roots_callback=never_listed) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert "with an error" in words(result)


async def test_sampling_passes_the_prompt_and_returns_the_models_words(server: MCPServer[Any], words: Words) -> None:
    asked: list[CreateMessageRequestParams] = []

    async def model(context: Any, params: CreateMessageRequestParams) -> CreateMessageResult:
        asked.append(params)
        return CreateMessageResult(role="assistant", content=TextContent(text="a joke"), model="m")

    async with Client(server, mode="legacy", sampling_callback=model) as client:
        result = await client.call_tool("sampleLLM", {"prompt": "Tell me a joke", "maxTokens": 7})
    assert words(result) == "LLM sampling result: a joke"
    assert asked[0].max_tokens == 7
    assert asked[0].messages[0].content == TextContent(text="Tell me a joke")


async def test_sampling_returns_as_json_what_is_not_text(server: MCPServer[Any], words: Words) -> None:
    async def painter(context: Any, params: Any) -> CreateMessageResult:
        return CreateMessageResult(
            role="assistant", content=ImageContent(data="AAAA", mime_type="image/png"), model="m"
        )

    async with Client(server, mode="legacy", sampling_callback=painter) as client:
        result = await client.call_tool("sampleLLM", {"prompt": "Paint"})
    assert json.loads(words(result).partition(": ")[2])["mimeType"] == "image/png"


async def test_a_refusal_of_the_client_is_a_tool_error_with_its_words(server: MCPServer[Any], words: Words) -> None:
    async def refusing(context: Any, params: Any) -> ErrorData:
        return ErrorData(code=-1, message="User rejected sampling request")

    async with Client(server, mode="legacy", sampling_callback=refusing) as client:
        result = await client.call_tool("sampleLLM", {"prompt": "hello"})
    assert result.is_error
    assert "sampling/createMessage with an error: User rejected sampling request" in words(result)


async def test_an_answer_of_the_wrong_shape_is_a_tool_error(handshake: OpenRaw) -> None:
    async with handshake("2025-11-25", {"roots": {}}) as client:
        question = await client.request("tools/call", {"name": "listRoots", "arguments": {}})
        assert question["method"] == "roots/list"
        await client.send(id=question["id"], result={"roots": "all of them"})
        answer = await client.receive()
    assert answer["result"]["isError"] is True
    assert "roots/list has the wrong shape" in answer["result"]["content"][0]["text"]


async def test_roots_are_returned_as_structured_content(server: MCPServer[Any]) -> None:
    async def roots(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///work"), name="Work"), Root(uri=FileUrl("file:///tmp"))])

    async with Client(server, mode="legacy", list_roots_callback=roots) as client:
        result = await client.call_tool("listRoots", {})
    assert result.structured_content == {
        "roots": [{"uri": "file:///work", "name": "Work"}, {"uri": "file:///tmp", "name": None}]
    }


async def test_the_form_has_a_field_of_every_type_that_the_specification_knows(
    server: MCPServer[Any], words: Words
) -> None:
    forms: list[dict[str, Any]] = []

    async def user(context: Any, params: Any) -> ElicitResult:
        forms.append(params.requested_schema)
        return ElicitResult(action="accept", content={"name": "Ada", "integer": 7, "cords": ["r", "b"], "email": ""})

    async with Client(server, mode="legacy", elicitation_callback=user) as client:
        result = await client.call_tool("elicitInputs", {})
    fields = forms[0]["properties"]
    assert set(forms[0]) == {"type", "properties", "required"}
    assert forms[0]["required"] == ["name"]
    assert {field["type"] for field in fields.values()} == {"string", "integer", "number", "boolean", "array"}
    assert {field.get("format") for field in fields.values()} - {None} == {"email", "uri", "date", "date-time"}
    assert fields["name"]["maxLength"] == 100
    assert (fields["integer"]["minimum"], fields["integer"]["maximum"], fields["integer"]["default"]) == (1, 100, 42)
    assert fields["check"]["default"] is False
    assert len(fields["petType"]["enum"]) == len(fields["petType"]["enumNames"])
    assert fields["size"]["enum"] == ["small", "medium", "large"]
    assert fields["urgency"]["oneOf"][0] == {"const": "low", "title": "Whenever you like"}
    assert fields["languages"]["items"]["enum"] == ["Python", "TypeScript", "Go", "Rust"]
    assert fields["cords"]["items"]["anyOf"][0] == {"const": "r", "title": "Red cord"}
    assert json.loads(words(result).partition(": ")[2]) == {
        "action": "accept",
        "content": {"name": "Ada", "integer": 7, "cords": ["r", "b"]},
    }


async def test_an_older_client_is_asked_only_for_types_that_its_version_knows(handshake: OpenRaw) -> None:
    async with handshake("2025-06-18", {"elicitation": {}}) as client:
        question = await client.request("tools/call", {"name": "elicitInputs", "arguments": {}})
        fields = question["params"]["requestedSchema"]["properties"]
        await client.send(id=question["id"], result={"action": "accept", "content": {"name": "Ada"}})
        answer = await client.receive()
    assert {field["type"] for field in fields.values()} == {"string", "integer", "number", "boolean"}
    assert not any("oneOf" in field for field in fields.values())
    assert "Ada" in answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_does_not_answer_is_no_error(server: MCPServer[Any], words: Words, action: Any) -> None:
    async def user(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action=action)

    async with Client(server, mode="legacy", elicitation_callback=user) as client:
        result = await client.call_tool("elicitInputs", {})
    assert not result.is_error
    assert json.loads(words(result).partition(": ")[2]) == {"action": action}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"name": "Ada", "integer": 500, "petType": "dragons"}, "integer, petType"),
        ({"integer": 5}, "name"),
        (None, "content"),
    ],
)
async def test_answers_that_do_not_follow_the_form_are_a_tool_error_that_names_the_fields(
    server: MCPServer[Any], words: Words, content: Any, named: str
) -> None:
    async def user(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content=content)

    async with Client(server, mode="legacy", elicitation_callback=user) as client:
        result = await client.call_tool("elicitInputs", {})
    assert result.is_error
    assert words(result).endswith(f"do not follow the requested schema: {named}.")


async def test_a_url_elicitation_shows_the_page_and_says_when_it_is_complete(server: MCPServer[Any]) -> None:
    asked: list[ElicitRequestURLParams] = []
    complete: list[Any] = []

    async def user(context: Any, params: Any) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept")

    async def notice(message: Any) -> None:
        complete.append(message)

    arguments = {"url": "https://example.com/sign-in", "message": "Please sign in."}
    async with Client(server, mode="legacy", elicitation_callback=user, message_handler=notice) as client:
        result = await client.call_tool("elicitUrl", arguments)
    assert (asked[0].url, asked[0].message) == ("https://example.com/sign-in", "Please sign in.")
    assert result.structured_content == {
        "action": "accept",
        "url": "https://example.com/sign-in",
        "elicitationId": asked[0].elicitation_id,
    }
    assert [done.params.elicitation_id for done in complete] == [asked[0].elicitation_id]


async def test_a_page_that_the_user_declines_is_not_reported_complete(server: MCPServer[Any]) -> None:
    notices: list[Any] = []

    async def user(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async def notice(message: Any) -> None:
        notices.append(message)

    async with Client(server, mode="legacy", elicitation_callback=user, message_handler=notice) as client:
        result = await client.call_tool("elicitUrl", {})
    assert result.structured_content is not None
    assert result.structured_content["action"] == "decline"
    assert notices == []


async def test_rounds_of_questions_need_no_memory_on_the_server(connect: Callable[..., Client]) -> None:
    questions: list[str] = []

    async def user(context: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action="accept", content={"city": "Oslo"} if len(questions) == 1 else {"nights": 3})

    async with connect(elicitation_callback=user) as client:
        result = await client.call_tool("multiRoundTrip", {})
    assert questions == ["Where would you like to go?", "How many nights in Oslo?"]
    assert result.structured_content == {"city": "Oslo", "nights": 3}


async def test_declining_a_round_ends_the_call(connect: Callable[..., Client], words: Words) -> None:
    async def user(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async with connect(elicitation_callback=user) as client:
        result = await client.call_tool("multiRoundTrip", {})
    assert result.is_error
    assert "decline" in words(result)
