"""YAML, JSON and TOML, each read strictly: a key that stands twice is a mistake, never a silent choice.

JSON may have comments and commas before a closing bracket, as editors write and read it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from switchboard.errors import ConfigurationError

LARGEST = 4 * 1024 * 1024
"""Bytes; a configuration file is written by people."""

MOST_VALUES = 1_000_000
"""Of a YAML document: a few aliases of aliases stand for any number."""


def parsed(path: Path) -> dict[str, Any]:
    """The document in the file.

    Raises:
        ConfigurationError: naming the file, and the line where the format tells.
    """
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        known = ", ".join(PARSERS)
        raise ConfigurationError(f"{path}: cannot read {path.suffix or 'a file without a suffix'}; use one of {known}")
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigurationError(f"{path}: is larger than {LARGEST} bytes")
        document = parse(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {_reason(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {_marked(error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: must be an object at the top, not {type(document).__name__}")
    return document


def read_text(path: Path) -> str:
    """The file's text, without a byte order mark."""
    return path.read_text(encoding="utf-8-sig")


def without_comments(text: str) -> str:
    """JSON with blanks in place of comments and of commas before a closing bracket, so that every line stays itself."""
    plain = _COMMENT.sub(lambda found: found["text"] or re.sub(r"[^\n]", " ", found[0]), text)
    return _LAST_COMMA.sub(lambda found: found["text"] or " " + found[0][1:], plain)


def _commented_json(text: str) -> object:
    return json_object(without_comments(text))


def json_object(text: str) -> object:
    """JSON without duplicate keys.

    Raises:
        ValueError: not JSON, or a key stands twice in one object.
    """
    return json.loads(text, object_pairs_hook=_once)


_TEXT = r'(?P<text>"(?:[^"\\]|\\.)*")'
_COMMENT = re.compile(rf"{_TEXT}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_TEXT}|,(?=\s*[\]}}])", re.DOTALL)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """YAML 1.2 in what a text without quotes may mean: `no`, `on` and `2025-01-01` are texts, `true` is not."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as its base declares it)
        first: [(tag, expression) for tag, expression in rules if not tag.endswith((":bool", ":timestamp"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if key.value in keys and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)

    def get_single_node(self) -> yaml.Node | None:
        root: yaml.Node | None = super().get_single_node()
        if root is not None:
            _weighed(root, {})
        return root


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _weighed(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node is with every alias written out.

    Raises:
        yaml.MarkedYAMLError: too many, or an alias stands within what it stands for.
    """
    if (weight := known.get(id(node))) is not None:
        if not weight:
            raise yaml.MarkedYAMLError(problem="an alias stands within its own anchor", problem_mark=node.start_mark)
        return weight
    known[id(node)] = 0
    weight = 1
    for inner in node.value if isinstance(node, yaml.CollectionNode) else ():
        weight += sum(_weighed(each, known) for each in (inner if isinstance(inner, tuple) else (inner,)))
    if weight > MOST_VALUES:
        problem = f"is more than {MOST_VALUES} values with its aliases written out"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    known[id(node)] = weight
    return weight


def _yaml(text: str) -> object:
    return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)


PARSERS: Mapping[str, Callable[[str], object]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _commented_json,
    ".jsonc": _commented_json,
    ".toml": tomllib.loads,
}
"""Suffix → parser."""


def _reason(error: Exception) -> str:
    return "is nested too deep" if isinstance(error, RecursionError) else str(error)


def _marked(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
