"""Empty lists where the protocol has an object."""

from __future__ import annotations

import json

from mcp import Client

from switchboard.backends.connections.empty_objects import HANDSHAKE_RESULT, PARAMS, RESULT, with_objects
from tests.backends.conftest import Open, Raw

SCHEMA = {
    "type": "object",
    "properties": [],
    "required": [],
    "$defs": {"a": [], "b": {"properties": {"c": [], "d": {"type": "array", "items": [], "default": []}}}},
    "allOf": [[], {"not": []}],
    "additionalProperties": [],
    "examples": [[]],
}


async def test_a_server_that_writes_empty_lists_for_objects_is_used_as_if_it_wrote_objects(
    scripted: Raw, open_gateway: Open
) -> None:
    info = {"name": "php", "version": "1"}
    able = {"tools": [], "resources": {"subscribe": False}, "prompts": [], "logging": [], "experimental": []}
    tool = {"name": "t", "inputSchema": SCHEMA, "annotations": [], "_meta": []}
    block = {"type": "text", "text": "done", "annotations": [], "_meta": []}
    say = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": able, "serverInfo": info, "_meta": []},
        "logging/setLevel": [],
        "tools/list": {"tools": [tool], "_meta": []},
        "resources/list": {"resources": [{"uri": "a://b", "name": "b", "annotations": [], "_meta": []}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a://{b}", "name": "c", "annotations": []}]},
        "prompts/list": {"prompts": [{"name": "p", "arguments": [], "_meta": []}]},
        "tools/call": {"content": [block], "structuredContent": [], "_meta": []},
        "prompts/get": {"messages": [{"role": "user", "content": block}], "_meta": []},
    }
    lines = {method: [f'{{"jsonrpc":"2.0","id":$ID,"result":{json.dumps(given)}}}'] for method, given in say.items()}
    log = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":[]}'
    async with open_gateway(scripted({"say": lines, "also": {"prompts/list": [log]}})) as opened:
        await opened.discovered()
        offer = opened.providers["odd"].last_offer()
        assert (offer.unoffered, len(offer.tools), len(offer.resources), len(offer.templates)) == ((), 1, 1, 1)
        assert offer.tools[0].input_schema["properties"] == {}
        assert offer.tools[0].input_schema["required"] == []
        async with Client(opened.server) as client:
            result = await client.call_tool("odd__t")
            assert result.structured_content == {}
            assert result.content[0].annotations is not None or result.content[0].type == "text"
            assert len((await client.get_prompt("odd__p")).messages) == 1


def test_schemas_are_mended_where_a_schema_stands_and_nowhere_else() -> None:
    mended = with_objects({"tools": [{"inputSchema": SCHEMA}]}, RESULT)["tools"][0]["inputSchema"]
    assert mended == {
        "type": "object",
        "properties": {},
        "required": [],
        "$defs": {"a": {}, "b": {"properties": {"c": {}, "d": {"type": "array", "items": {}, "default": []}}}},
        "allOf": [{}, {"not": {}}],
        "additionalProperties": {},
        "examples": [[]],
    }


def test_what_a_tool_returns_is_left_as_it_is() -> None:
    result = {"content": [], "structuredContent": {"properties": [], "_meta": []}, "other": []}
    assert with_objects(result, HANDSHAKE_RESULT) == result
    assert with_objects({"content": [], "structuredContent": []}, RESULT)["structuredContent"] == []
    assert with_objects({"content": [], "structuredContent": []}, HANDSHAKE_RESULT)["structuredContent"] == {}


def test_what_a_server_asks_is_mended_too() -> None:
    asked = {"message": "Who?", "requestedSchema": {"type": "object", "properties": []}, "_meta": []}
    assert with_objects(asked, PARAMS) == {
        "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {}},
        "_meta": {},
    }
    assert with_objects({"level": "info", "data": []}, PARAMS) == {"level": "info", "data": []}
