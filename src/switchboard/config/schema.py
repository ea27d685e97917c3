"""The JSON Schema of the configuration file, for editors and for whoever writes one with a program."""

from __future__ import annotations

from typing import Any

from switchboard.config.auth import STRATEGIES
from switchboard.config.importing import tool_lists
from switchboard.config.model import Configuration
from switchboard.config.servers import IGNORED, TRANSPORTS

_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""Wherever something else than a text stands, a reference to a variable can stand too."""


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    made = Configuration.model_json_schema(by_alias=True)
    server = made["$defs"]["ServerSection"]["properties"]
    server["type"] = _also(server["type"], list(TRANSPORTS))
    server["transport"] = server["type"]
    server["disabled"] = {"type": "boolean", "description": "As desktop clients say `enabled: false`."}
    for key in ("serverUrl", "httpUrl"):
        server[key] = {"type": "string", "description": "As some clients say `url`."}
    for key in sorted(IGNORED):
        server[key] = {"description": "A desktop client's own; without an effect here."}
    for key in (*tool_lists.OFF, *tool_lists.ON, *tool_lists.ALL_IF_EMPTY):
        server[key] = {"type": ["array", "string", "object"], "description": "As other programs say `deny` or `allow`."}
    strategy = made["$defs"]["Auth"]["properties"]["strategy"]
    strategy["enum"] = [*strategy["enum"], *STRATEGIES]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **{key: _with_references(value) for key, value in made.items()},
        "title": "Switchboard configuration",
    }


def _also(field: dict[str, Any], words: list[str]) -> dict[str, Any]:
    return {**field, "anyOf": [*field["anyOf"], {"enum": words}]}


def _with_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_references(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") in ("integer", "number", "boolean") or ("enum" in node and isinstance(node["enum"], list)):
        about = {key: node[key] for key in ("description", "title", "default") if key in node}
        return {**about, "anyOf": [{key: value for key, value in node.items() if key not in about}, _REFERENCE]}
    return {key: _with_references(value) for key, value in node.items()}
