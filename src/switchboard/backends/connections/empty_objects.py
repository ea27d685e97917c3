"""Empty lists where the protocol has an object, as servers in PHP write them: read as empty objects.

Only where the protocol, or JSON Schema, says that an object stands: what a tool returns or is given is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Shape = Mapping[str, Any]
"""Of an object: member → the shape of its object. `EACH` stands for every other member, `ITEMS` for those of a list."""

EACH: Final = "*"
ITEMS: Final = "[]"

ANY: Final[Shape] = {}
_EACH: Final[Shape] = {EACH: ANY}

_SCHEMA: Final[dict[str, Any]] = {}
_SCHEMA.update(
    dict.fromkeys(("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if"), _SCHEMA)
    | dict.fromkeys(("items", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"), _SCHEMA)
    | {
        name: {EACH: _SCHEMA}
        for name in ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
    }
    | {name: {ITEMS: _SCHEMA} for name in ("allOf", "anyOf", "oneOf", "prefixItems")}
    | {"dependentRequired": ANY, "$vocabulary": ANY}
)
_CAPABILITY: Final[dict[str, Any]] = {}
_CAPABILITY.update({EACH: _CAPABILITY})
_DEFINITION: Final[Shape] = {"_meta": ANY, "annotations": ANY, "execution": ANY}
_TOOL: Final[Shape] = {**_DEFINITION, "inputSchema": _SCHEMA, "outputSchema": _SCHEMA}
_BLOCK: Final[dict[str, Any]] = {"_meta": ANY, "annotations": ANY, "input": ANY, "resource": {"_meta": ANY}}
_MESSAGES: Final[Shape] = {ITEMS: {"_meta": ANY, "content": {**_BLOCK, ITEMS: _BLOCK}}}

PARAMS: Final[Shape] = {
    "_meta": ANY,
    "metadata": ANY,
    "messages": _MESSAGES,
    "modelPreferences": ANY,
    "requestedSchema": _SCHEMA,
    "task": ANY,
    "toolChoice": ANY,
    "tools": {ITEMS: _TOOL},
}
"""Of the requests and notifications of a server."""

RESULT: Final[Shape] = {
    "_meta": ANY,
    "capabilities": {EACH: _CAPABILITY, "experimental": _EACH, "extensions": _EACH},
    "completion": ANY,
    "content": {ITEMS: _BLOCK},
    "contents": {ITEMS: {"_meta": ANY}},
    "inputRequests": {EACH: {"params": PARAMS}},
    "messages": _MESSAGES,
    "prompts": {ITEMS: _DEFINITION},
    "resources": {ITEMS: _DEFINITION},
    "resourceTemplates": {ITEMS: _DEFINITION},
    "tools": {ITEMS: _TOOL},
}
HANDSHAKE_RESULT: Final[Shape] = {**RESULT, "structuredContent": ANY}
"""In the modern era a tool may return a list there."""


def with_objects(value: Any, shape: Shape) -> Any:
    """The same with an object wherever `shape` has one and an empty list stands."""
    if isinstance(value, list):
        if ITEMS in shape:
            return [with_objects(item, shape[ITEMS]) for item in value]
        return value or {}
    if not isinstance(value, dict) or not shape:
        return value
    every = shape.get(EACH)
    return {
        name: member if (inner := shape.get(name, every)) is None else with_objects(member, inner)
        for name, member in value.items()
    }
