"""What a reader can do without, or can tell from the rest, does not cost the whole answer of a backend."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ResourceLink, TextContent
from pydantic import ValidationError

from switchboard.backends import texts
from switchboard.backends.connections import leniency
from switchboard.backends.connections.empty_objects import HANDSHAKE_RESULT, RESULT, with_objects
from tests.backends.conftest import Open, Raw


def parsed(raw: dict[str, Any], version: str = "2025-06-18") -> CallToolResult:
    result = leniency.parsed("tools/call", version, raw)
    assert isinstance(result, CallToolResult)
    return result


TEXTS = st.sampled_from(["", "hé", "a\x1b[31mb\x1b[0m", "\u202ex", "tab\t\n"])
BLOCKS = st.fixed_dictionaries({"type": st.sampled_from(["text", "text", "odd"]), "text": TEXTS}) | st.sampled_from(
    [{"type": "text"}, {"type": "text", "text": 1}, {"type": "text", "text": "", "_meta": {}}, {"text": ""}, [], "text"]
)
RESULTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"content": st.lists(BLOCKS, max_size=3) | st.sampled_from([None, [], {}])},
    optional={
        "isError": st.sampled_from([True, False, None, 1, "true"]),
        "resultType": st.sampled_from(["complete", "input_required", None]),
        "structuredContent": st.sampled_from([{}, {"a": 1}, {"a": {"b": [None, 1.5]}}, [], None]),
        "_meta": st.sampled_from([{}, [], None]),
        "more": st.just(1),
    },
)


@given(RESULTS, st.sampled_from(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]))
def test_a_result_of_texts_alone_is_read_as_every_other(raw: dict[str, Any], version: str) -> None:
    if not leniency.is_of_texts(raw):
        return
    shape = RESULT if version == "2026-07-28" else HANDSHAKE_RESULT
    assert with_objects(raw, shape) == raw
    usual = leniency.parsed("tools/call", version, texts.result(raw))
    short = texts.result_of_texts(raw, version)
    assert (short, short.model_fields_set) == (usual, usual.model_fields_set)


@pytest.mark.parametrize(
    ("raw", "is_plain"),
    [
        ({"content": [{"type": "text", "text": "a"}], "isError": False, "resultType": "complete"}, True),
        ({"content": []}, True),
        ({"content": [], "structuredContent": {"a": [1]}}, True),
        ({"content": [], "structuredContent": []}, False),
        ({"content": [{"type": "text", "text": "a"}], "_meta": {}}, False),
        ({"content": [{"type": "text", "text": "a"}], "resultType": "input_required"}, False),
        ({"content": [{"type": "text", "text": "a", "annotations": []}]}, False),
    ],
)
def test_most_results_are_texts_alone(raw: dict[str, Any], is_plain: bool) -> None:
    assert leniency.is_of_texts(raw) is is_plain


@pytest.mark.parametrize("structured", [[1], "x", 5, False, {"a": 1}])
def test_structured_content_of_a_handshake_backend_may_be_anything(structured: Any) -> None:
    assert parsed({"content": [], "structuredContent": structured}).structured_content == structured


def test_content_that_is_left_out_is_told_from_the_structured_content() -> None:
    for raw in ({"structuredContent": {"a": 1}}, {"content": None, "structuredContent": {"a": 1}}):
        assert parsed(raw).content == [TextContent(type="text", text='{"a": 1}')]
    with pytest.raises(ValidationError):
        parsed({})


def test_a_block_of_an_unknown_type_is_shown_as_it_was_written_and_a_link_needs_no_name() -> None:
    video = {"type": "video", "data": "AAAA"}
    shown, link = parsed({"content": [video, {"type": "resource_link", "uri": "x://1"}]}).content
    assert isinstance(shown, TextContent)
    assert json.loads(shown.text) == video
    assert isinstance(link, ResourceLink)
    assert link.name == "x://1"


@pytest.mark.parametrize(
    "said",
    [
        {"capabilities": {"tools": {}}},
        {"capabilities": {"tools": {}}, "serverInfo": None},
        {"capabilities": {"tools": {}}, "serverInfo": {"name": "odd"}},
        {"capabilities": {"tools": {}}, "serverInfo": {"name": 5, "version": 1.2}},
        {
            "capabilities": {"tools": True, "resources": False, "prompts": None},
            "serverInfo": {"name": "odd", "version": "1"},
        },
        {"serverInfo": {"name": "odd", "version": "1"}},
    ],
)
async def test_a_server_that_says_too_little_of_itself_is_used(said: Any, scripted: Raw, open_gateway: Open) -> None:
    answers = {
        "initialize": {"protocolVersion": "2025-06-18", **said},
        "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        "tools/call": {"content": [{"type": "text", "text": "done"}]},
    }
    say = {method: [f'{{"jsonrpc":"2.0","id":$ID,"result":{json.dumps(given)}}}'] for method, given in answers.items()}
    async with open_gateway(scripted({"say": say})) as opened:
        await opened.discovered()
        assert opened.providers["odd"].last_offer().unoffered == ()
        async with Client(opened.server) as client:
            (block,) = (await client.call_tool("odd__t")).content
            assert block == TextContent(type="text", text="done")


def test_a_modern_result_that_states_nothing_about_itself_is_complete_and_private() -> None:
    result = leniency.parsed("resources/read", "2026-07-28", {"contents": [{"uri": "x:y", "text": "t"}]})
    stated = result.model_dump(by_alias=True)
    assert (stated["resultType"], stated["ttlMs"], stated["cacheScope"]) == ("complete", 0, "private")


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
async def test_a_number_that_json_has_not_is_refused_in_an_answer(
    number: str, scripted: Raw, open_gateway: Open
) -> None:
    answer = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"a":NUMBER}}}'
    answer = answer.replace("NUMBER", number)
    async with open_gateway(scripted({"say": {"tools/call": [answer]}})) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match=r"'odd': its answer to tools/call is not valid: .*number"):
            await client.call_tool("odd__t")


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_list_from_a_handshake_backend_reaches_clients_of_both_eras(
    era: str, scripted: Raw, open_gateway: Open
) -> None:
    answer = '{"jsonrpc":"2.0","id":$ID,"result":{"structuredContent":[1,2]}}'
    async with open_gateway(scripted({"say": {"tools/call": [answer]}})) as opened:
        await opened.discovered()
        async with Client(opened.server, mode=era) as client:
            result = await client.call_tool("odd__t")
    assert result.content == [TextContent(type="text", text="[1, 2]")]
    assert result.structured_content == (None if era == "legacy" else [1, 2])
