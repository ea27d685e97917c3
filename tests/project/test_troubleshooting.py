"""docs/troubleshooting.md: each message in its tables is one that the program can write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (.+?) \| .+ \|$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
MESSAGES = [message for row in ROWS for message in re.findall(r"`([^`]*[A-Za-z] [^`]*)`", row)]


def literals(tree: ast.AST) -> Iterator[str]:
    """Every text in it; what is put into one stands as `…`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w+\}", "…", node.value)


@cache
def source() -> str:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "auth_server").rglob("*.py")]
    return "\n".join(text for file in files for text in literals(ast.parse(file.read_text())))


def test_the_document_has_messages() -> None:
    assert len(MESSAGES) > 25


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_document_is_in_the_program(message: str) -> None:
    assert message.rstrip("… :;") in source()
