"""ARCHITECTURE.md names what is there: every path of its tables and walks. A walk is short enough to follow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "ARCHITECTURE.md").read_text()
WALKS = re.split(r"^### ", DOCUMENT.split("## Three walks")[1].split("\n## ")[0], flags=re.MULTILINE)[1:]
LONGEST_WALK = 15
METHODS = {"tools/call", "subscriptions/listen"}
"""Methods of MCP, which look like paths."""


def paths(text: str) -> set[str]:
    """What stands in backquotes and looks like a path of the source tree: `room/`, `room/file.py` or `room/file`."""
    return {*re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py|/[a-z_]+))`", text)} - METHODS


def is_there(path: str) -> bool:
    bases = (ROOT, ROOT / "src" / "switchboard")
    if "/" not in path:
        return any(next(base.rglob(path), None) for base in (bases[1], ROOT / "auth_server"))
    return any((base / path).exists() or (base / f"{path}.py").exists() for base in bases)


def test_every_path_it_names_is_there() -> None:
    assert [path for path in sorted(paths(DOCUMENT)) if not is_there(path)] == []
    assert len(paths(DOCUMENT)) > 80


@pytest.mark.parametrize("walk", WALKS, ids=[walk.splitlines()[0] for walk in WALKS])
def test_a_walk_is_a_list_of_few_files(walk: str) -> None:
    files = re.findall(r"^\d+\. `([a-z_/]+\.py)`", walk, re.MULTILINE)
    assert 5 < len(files) <= LONGEST_WALK
    assert [file for file in files if not is_there(file)] == []
