"""The forms that elicitation fixtures show: what the suite compares field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_OPTIONS: Final = ("option1", "option2", "option3")
_TITLED: Final = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)]


def of_strings(*names: str) -> dict[str, Any]:
    """A form of required texts."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


def confirmation(name: str) -> dict[str, Any]:
    """A form of one box to tick."""
    return {"type": "object", "properties": {name: {"type": "boolean"}}, "required": [name]}


DEFAULTS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {
            "type": "string",
            "description": "User status",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    },
    "required": [],
}
"""SEP-1034: a default for every primitive type."""

ENUMS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "description": "Select one option", "enum": list(_OPTIONS)},
        "titledSingle": {"type": "string", "description": "Select one option with titles", "oneOf": _TITLED},
        "legacyEnum": {
            "type": "string",
            "description": "Select one option, in the older way",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "description": "Select several options",
            "minItems": 1,
            "maxItems": 3,
            "items": {"type": "string", "enum": list(_OPTIONS)},
        },
        "titledMulti": {
            "type": "array",
            "description": "Select several options with titles",
            "minItems": 1,
            "maxItems": 2,
            "items": {"anyOf": _TITLED},
        },
    },
    "required": [],
}
"""SEP-1330: every way to choose from several."""
