"""The table in README.md: what must hold of authorization, and the tests that show it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
ROWS = 30

_ROW = re.compile(r"^\| (\d+) \| .+ \| (.+) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def functions_in(file: Path) -> set[str]:
    """The names of the test functions in a file, without importing it."""
    nodes = ast.walk(ast.parse(file.read_text())) if file.exists() else ()
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_has_a_test_and_every_test_it_names_is_there() -> None:
    rows = {int(row[1]): _NAMED.findall(row[2]) for row in _ROW.finditer((HERE / "README.md").read_text())}

    assert sorted(rows) == list(range(1, ROWS + 1))
    assert [row for row, named in rows.items() if not named] == []
    missing = {
        f"{path}::{name}" for named in rows.values() for path, name in named if name not in functions_in(TESTS / path)
    }
    assert missing == set()


def test_every_folder_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", (HERE / "README.md").read_text().partition("##")[0]))

    assert {path.parent.name for path in HERE.glob("*/test_*.py")} - described == set()
