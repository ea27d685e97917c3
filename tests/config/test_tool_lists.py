"""A tool that another program's file switches off stays off, whichever way the file comes here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp_types import Tool

from switchboard.catalog.shaping import Shape
from switchboard.config import ServerSection, read
from switchboard.config.formats import parsed
from switchboard.config.importing.files import imported
from switchboard.config.layers import OVERRIDES

WriteFile = Callable[[str, str], Path]
NAMES = ["read", "delete", "delete_all", "drop table"]


def left(section: ServerSection) -> list[str]:
    shape = Shape(section)
    tools = [Tool(name=name, input_schema={"type": "object"}) for name in NAMES]
    return [tool.name for tool in tools if shape.offers("tools", tool.name)]


ROWS: list[tuple[dict[str, Any], list[str]]] = [
    ({"disabledTools": ["delete", "drop table"]}, ["read", "delete_all"]),
    ({"disabledTools": ["delete*"]}, ["read", "drop table"]),
    ({"disabledTools": "delete"}, ["read", "delete_all", "drop table"]),
    ({"disabledTools": {"delete": True, "read": False}}, ["read", "delete_all", "drop table"]),
    ({"disabledTools": ["drop_table"]}, ["read", "delete", "delete_all"]),
    ({"disabledTools": ["remove"], "rename": {"delete": "remove"}}, ["read", "delete_all", "drop table"]),
    ({"disabled_tools": ["delete"], "deny": ["read"]}, ["delete_all", "drop table"]),
    ({"excludeTools": ["delete"], "includeTools": ["read", "delete"]}, ["read"]),
    ({"enabled_tools": ["read"]}, ["read"]),
    ({"enabledTools": []}, []),
    ({"tools": ["read"]}, ["read"]),
    ({"tools": {"delete*": False, "read": True}}, ["read", "drop table"]),
    ({"tools": {"exclude": ["delete"]}}, ["read", "delete_all", "drop table"]),
    ({"tools": {"include": ["read"]}}, ["read"]),
    ({"tools": {"exclude": {"tags": ["x"]}}}, NAMES),
    ({"available_tools": []}, NAMES),
    ({"available_tools": ["read"]}, ["read"]),
    ({"disabledTools": None}, NAMES),
    ({"disabledTools": []}, NAMES),
    ({"alwaysAllow": ["delete"]}, NAMES),
]


@pytest.mark.parametrize(("row", "kept"), ROWS)
def test_a_list_of_another_program_says_what_is_offered(row: dict[str, Any], kept: list[str], write: WriteFile) -> None:
    server = {"command": "x", **row}
    file = write("c.json", json.dumps({"mcpServers": {"s": server}}))
    assert left(read(file, {}).servers["s"]) == kept
    patch = json.dumps({"mcpServers": {"s": server}})
    assert left(read(None, {OVERRIDES: patch}).servers["s"]) == kept
    assert left(read(None, {}, overlay=[json.loads(patch)]).servers["s"]) == kept


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "mcpServers:\n  s:\n    command: x\n    disabledTools: [delete]\n"),
        ("c.toml", '[mcpServers.s]\ncommand = "x"\ndisabled_tools = ["delete"]\n'),
        ("c.json", '{"mcpServers": {"s": {"command": "x", "disabledTools": ["delete"]}}}'),
    ],
)
def test_each_format_of_the_file_keeps_it(name: str, text: str, write: WriteFile) -> None:
    assert "delete" not in left(read(write(name, text), {}).servers["s"])


@pytest.mark.parametrize(
    "document",
    [
        {"mcpServers": {"s": {"command": "x", "disabledTools": ["delete"]}}},
        {"servers": {"s": {"type": "stdio", "command": "x", "disabledTools": ["delete"]}}},
        {"context_servers": {"s": {"command": "x", "disabled_tools": ["delete"]}}},
        {"mcp_servers": {"s": {"command": "x", "disabled_tools": ["delete"]}}},
        {"servers": [{"id": "s", "type": "stdio", "command": "x", "excludeTools": ["delete"]}]},
    ],
)
def test_an_import_keeps_it(document: dict[str, Any]) -> None:
    found = imported(document)
    assert "delete" not in left(ServerSection.model_validate(found.servers["s"]))


@pytest.mark.parametrize("value", [5, [5], [""], {"delete": "yes"}, [["delete"]], True])
def test_a_list_that_cannot_be_understood_is_a_mistake_and_never_nothing(value: Any, write: WriteFile) -> None:
    row = {"command": "x", "disabledTools": value}
    written = read(write("c.json", json.dumps({"mcpServers": {"s": row}})), {})
    assert "'disabledTools' must be a list of names of tools" in written.broken["s"].reason
    assert written.servers == {}
    found = imported({"mcpServers": {"s": row, "t": {"command": "y"}}})
    assert list(found.servers) == ["t"]
    assert found.left_out == ["s: 'disabledTools' must be a list of names of tools"]


def test_a_name_of_300_characters_can_be_switched_off(write: WriteFile) -> None:
    row = {"command": "x", "disabledTools": ["a" * 300]}
    section = read(write("c.json", json.dumps({"mcpServers": {"s": row}})), {}).servers["s"]
    assert not Shape(section).offers("tools", "a" * 300)


def test_a_file_that_was_imported_reads_as_it_was_imported(write: WriteFile, tmp_path: Path) -> None:
    found = imported(parsed(write("in.json", '{"mcpServers": {"s": {"command": "x", "disabledTools": ["delete"]}}}')))
    assert found.servers["s"] == {"command": "x", "deny": ["tools:delete"]}
