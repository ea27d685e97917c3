"""What a validator found wrong, in plain words: what was expected, without the validator's own names and links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails, ValidationError

_EXPECTED: Final[Mapping[str, str]] = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "mapping_type": "must be an object: name and value",
    "dict_type": "must be an object: name and value",
    "model_type": "must be an object: name and value",
    "model_attributes_type": "must be an object: name and value",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "path_type": "must be the path of a file or folder",
    "missing": "is missing",
}
"""The validator's name of a mistake → what was expected, in words that fit any format."""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

_SHOULD: Final = re.compile(r"^(?:Input|String|Value) should")


def expected(item: ErrorDetails) -> str:
    """What one mistake is, as the end of a sentence that begins with the name of the value."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"must be {words} {context[limit]}"
    if kind == "literal_error":
        return f"must be one of {str(context['expected']).replace(' or ', ', ')}"
    if kind == "extra_forbidden":
        return "is not known"
    if kind == "string_too_short" and context["min_length"] == 1:
        return "must not be empty"
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    said = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return _SHOULD.sub("must", said, count=1)


def complaints(error: ValidationError, whole: str) -> str:
    """All mistakes, each with the value's name, or the `whole`'s; never the value, which may be long or private."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or whole} {expected(item)}"
        for item in error.errors(include_url=False, include_input=False)
    )
