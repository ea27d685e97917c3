"""Schemas of tools: a keyword goes on as it is written, data is not schema, and what is left out is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from switchboard.backends import Bounds
from switchboard.backends.offer import sanitize
from tests.backends.conftest import Open, Raw

SMILE = "\U0001f600"


def offered(*tools: Any) -> tuple[list[Any], dict[str, str]]:
    kept, unoffered = sanitize.clean(sanitize.TOOLS, tools, Bounds())
    return [tool.model_dump(by_alias=True, exclude_none=True) for tool in kept], {
        one.name: one.reason for one in unoffered
    }


def passed(schema: Any, member: str = "inputSchema") -> Any:
    """The schema as it is offered."""
    kept, reasons = offered({"name": "t", "inputSchema": {"type": "object"}, member: schema})
    assert reasons == {}
    return kept[0].get(member)


def refused(schema: Any, member: str = "inputSchema") -> str:
    kept, reasons = offered({"name": "t", "inputSchema": {"type": "object"}, member: schema})
    assert kept == []
    return reasons["t"]


def of(property: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": property}, **more}


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[\p{L}\p{N}_-]+$",
        r"^\p{Script=Greek}+$",
        r"[^]",
        r"^[]$",
        r"\cJ",
        r"(?<year>\d{4})\k<year>",
        r"\u{1F600}",
        r"[\w--\d]",
        r"^(?i:a)b$",
        r"(?<=\$)\d+(?:,\d+)*",
        r"[[a-z]&&[aeiou]]",
        r"^(a+)+$",
        r"\/",
        r"(",
        r"\d{99999999999999}",
        "^[\u200b-\u200d]*$",
        "^[\ufeff\u00ad]$",
        SMILE,
    ],
)
def test_a_pattern_goes_on_as_it_is_written_whether_or_not_python_could_compile_it(pattern: str) -> None:
    schema = of({"type": "string", "pattern": pattern}, patternProperties={pattern: {"type": "string"}})
    assert passed(schema) == schema


@pytest.mark.parametrize(
    "property",
    [
        {"default": {"$ref": "common.yaml#/Pet"}},
        {"const": {"$ref": "http://example.org/x", "type": 5}},
        {"enum": [{"$dynamicRef": "other.json"}, {"pattern": "("}, None]},
        {"examples": [{"$ref": "other.json", "properties": 5}]},
        {"x-example": {"$ref": "other.json", "title": "as\u200bwritten"}},
        {"default": {"title": "co\u00adop", "description": "\x1b[31m"}},
        {"enum": ["co\u00adop", "a\u200db", "\u202eabc"]},
        {"const": "\u2066x"},
        {"const": None, "default": None},
        {"type": "object", "properties": {"$ref": {"type": "string"}, "pattern": True, "enum": {}, "$id": False}},
        {"type": "object", "properties": {"title": {"type": "string"}, "description": {"const": "a\u00adb"}}},
        {"type": "object", "properties": {"na\u200bme": {"type": "string"}}, "required": ["na\u200bme"]},
        {"type": "object", "properties": {"default": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}},
        {"dependentRequired": {"$ref": ["a"]}},
    ],
)
def test_what_only_looks_like_schema_or_prose_is_data_and_goes_on_as_it_is(property: Any) -> None:
    assert passed(of(property)) == of(property)


@pytest.mark.parametrize(
    "schema",
    [
        of({"$ref": "#/definitions/A"}, definitions={"A": {"type": "string"}}),
        of({"$ref": "#/$defs/A%20B~1C"}, **{"$defs": {"A B/C": {"type": "string"}}}),
        of({"$ref": "#here"}, **{"$defs": {"A": {"$anchor": "here"}}}),
        of({"$ref": "#here"}, definitions={"A": {"$id": "#here"}}),
        of({"$ref": "#here"}, definitions={"A": {"id": "#here", "type": "string"}}),
        of({"$dynamicRef": "#node"}, **{"$dynamicAnchor": "node"}),
        of({"$recursiveRef": "#"}, **{"$recursiveAnchor": True}),
        of({"$ref": "item.json"}, **{"$defs": {"A": {"$id": "item.json", "type": "string"}}}),
        of({"$ref": "item"}, **{"$id": "https://example.org/s/root", "$defs": {"A": {"$id": "item"}}}),
        of(
            {"$ref": "https://example.org/s/item#/type"},
            id="https://example.org/s/root",
            definitions={"A": {"id": "item"}},
        ),
        of({"$ref": "root.json#/definitions/A"}, **{"$id": "https://example.org/root.json", "definitions": {"A": {}}}),
        of({"$ref": "urn:x:item"}, **{"$defs": {"A": {"$id": "urn:x:item"}}}),
        of({"$ref": "#/components/schemas/A"}, components={"schemas": {"A": {"$ref": "#/properties/a"}}}),
        of({"$ref": "#/properties/a"}),
        of({"$ref": "#/definitions/nowhere"}),
    ],
)
def test_a_reference_within_the_schema_is_understood_in_the_words_of_every_draft(schema: Any) -> None:
    assert passed(schema) == schema


@pytest.mark.parametrize(
    "schema",
    [
        of({"$ref": "http://example.org/x"}),
        of({"$ref": "other.json#/a"}),
        of({"$dynamicRef": "https://example.org/x#node"}),
        of({"$recursiveRef": "https://example.org/x"}),
        of({"items": [{"$ref": "file:///etc/passwd"}]}),
        of({"not": {"if": {"$ref": "other.json"}}}),
        of({}, dependencies={"b": {"$ref": "other.json"}}),
        of({"$ref": "#/x/y"}, x={"y": {"$ref": "https://example.org/x"}}),
        of(
            {"$ref": "item"}, **{"$id": "https://example.org/s/root", "$defs": {"A": {"$id": "https://other.org/item"}}}
        ),
        of({"$ref": "http://[x"}),
    ],
)
def test_a_reference_that_leads_outside_leaves_the_tool_out_and_is_named(schema: Any) -> None:
    assert "outside of itself" in refused(schema)


@pytest.mark.parametrize(
    "property",
    [
        {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 2, "exclusiveMaximum": False},
        {"type": "number", "exclusiveMinimum": 1},
        {"type": "array", "items": [{"type": "string"}, True], "additionalItems": False},
        {"type": "array", "items": []},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
        {"type": "object", "dependencies": {"b": ["c"], "d": {"required": ["e"]}}},
        {"id": "https://example.org/x", "type": "string"},
        {"$schema": "http://json-schema.org/draft-04/schema#", "type": "string"},
        {"$schema": "https://example.org/a-dialect-of-our-own", "type": "string"},
        {"format": "a-format-of-our-own"},
        {"example": {"$ref": "x.json"}, "examples": {"one": {"value": 1}}},
        True,
        False,
        {},
    ],
)
def test_drafts_4_to_2020_12_and_boolean_schemas_are_understood_and_go_on_as_they_are(property: Any) -> None:
    assert passed(of(property)) == of(property)


def test_titles_and_descriptions_are_cleaned_wherever_a_schema_stands_and_nowhere_else() -> None:
    dirty, clean = {"title": "T\u200b", "description": "D\x1b[31m\u202e", "const": "\u200b"}, "\u200b"
    schema = of(dirty, items=[dirty], dependencies={"x": dirty}, definitions={"title": dirty}, **{"if": dirty})
    once = {"title": "T", "description": "D", "const": clean}
    assert passed(schema) == of(
        once, items=[once], dependencies={"x": once}, definitions={"title": once}, **{"if": once}
    )


def test_null_members_are_as_left_out() -> None:
    tool = {
        "name": "t",
        "title": None,
        "description": None,
        "annotations": None,
        "outputSchema": None,
        "_meta": None,
        "icons": None,
        "inputSchema": {
            "type": "object",
            "title": None,
            "required": None,
            "properties": {"a": {"enum": None, "default": None}, "b": None},
        },
    }
    kept, reasons = offered(tool)
    assert reasons == {}
    assert kept == [
        {"name": "t", "inputSchema": {"type": "object", "properties": {"a": {"default": None}}}},
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ({}, {"type": "object"}),
        (True, {"type": "object"}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {}}}, {"$ref": "#/$defs/A", "$defs": {"A": {}}, "type": "object"}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        ({"type": "object", "properties": [], "$defs": []}, {"type": "object", "properties": {}, "$defs": {}}),
    ],
)
def test_the_schema_of_arguments_says_that_they_are_an_object(written: Any, shown: Any) -> None:
    assert passed(written) == shown


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}},
        {"$ref": "#/$defs/R", "$defs": {"R": {"type": "object"}}},
        {"type": ["object", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "string", "pattern": "\\p{L}"},
    ],
)
def test_the_schema_of_a_result_may_be_any(schema: Any) -> None:
    assert passed(schema, "outputSchema") == schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array"}, "inputSchema is not a schema of an object"),
        (False, "inputSchema is not a schema of an object"),
        ("object", "inputSchema is not a schema of an object"),
        (None, "it has no inputSchema"),
        (of({"type": "nothing"}), "inputSchema is not a JSON Schema: properties/a/type: 'nothing'"),
        (of({"required": True}), "inputSchema is not a JSON Schema"),
        (of({"type": "object", "properties": 5}), "inputSchema is not a JSON Schema"),
        (of({"default": float("inf")}), "it has a number that JSON has not"),
    ],
)
def test_what_is_no_schema_leaves_the_tool_out_with_the_reason(schema: Any, reason: str) -> None:
    assert refused(schema).startswith(reason)


def test_a_definition_nested_too_deep_is_left_out_even_where_it_is_data() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"a": deep}
    assert refused(of({"default": deep})) == "it is nested more than 64 deep"


def test_icons_that_are_none_are_left_out_and_told_and_the_tool_is_offered() -> None:
    fine = {"src": "https://example.org/i.png", "sizes": ["48x48"]}
    icons = [fine, {"src": "javascript:alert(1)"}, {"src": "https://example.org/i.png", "sizes": "48x48"}, 5]
    kept, reasons = offered({"name": "t", "icons": icons, "inputSchema": {"type": "object"}})
    assert kept[0]["icons"] == [fine]
    assert reasons["t"].startswith("offered without icons")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("annotations", {"readOnlyHint": "perhaps"}),
        ("annotations", "none"),
        ("title", 5),
        ("description", ["a"]),
        ("execution", {"taskSupport": "sometimes"}),
        ("_meta", "x"),
    ],
)
def test_what_a_tool_can_be_offered_without_does_not_cost_the_tool(member: str, value: Any) -> None:
    kept, reasons = offered({"name": "t", "inputSchema": {"type": "object"}, member: value})
    assert kept == [{"name": "t", "inputSchema": {"type": "object"}}]
    assert reasons["t"].startswith(f"offered without {member}: ")


def test_a_resource_is_offered_without_a_size_or_priority_that_is_none() -> None:
    resource = {"uri": "x://1", "name": "x", "size": 1.5, "annotations": {"priority": 7}}
    kept, unoffered = sanitize.clean(sanitize.RESOURCES, [resource], Bounds())
    assert [one.model_dump(exclude_none=True) for one in kept] == [{"uri": "x://1", "name": "x"}]
    assert [one.reason.partition(":")[0] for one in unoffered] == [
        "offered without size",
        "offered without annotations",
    ]


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:x", " vbscript:x"])
def test_a_resource_whose_link_would_run_a_program_is_left_out(uri: str) -> None:
    kept, unoffered = sanitize.clean(sanitize.RESOURCES, [{"uri": uri, "name": "x"}], Bounds())
    assert kept == []
    assert unoffered[0].reason in ("following its URI would run a program", "its uri has hidden characters")


async def test_a_tool_whose_result_is_no_object_is_listed_for_clients_of_both_eras(
    raw: Raw, open_gateway: Open, tmp_path: Path
) -> None:
    file = tmp_path / "definitions.json"
    schema = {"type": "array", "items": {"type": "integer"}}
    file.write_text(json.dumps([{"name": "t", "inputSchema": {"type": "object"}, "outputSchema": schema}]))
    async with open_gateway(raw("odd", "definitions", str(file))) as opened:
        await opened.discovered()
        for mode, shown in (("legacy", None), ("auto", schema)):
            async with Client(opened.server, mode=mode) as client:
                (tool,) = (await client.list_tools()).tools
                assert (tool.name, tool.output_schema) == ("odd__t", shown)
