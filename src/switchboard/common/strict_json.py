"""JSON that others wrote, read so that whatever passes can be kept, and written again as it was.

A leaf. Python's own reader takes NaN, infinities, half surrogates and any depth, and the writer then fails on them,
after something was stored. Whole numbers are carried as they are, up to 4,300 digits. Others are doubles, as RFC 8259
§6 advises: whoever reads them at the other end gets the double that the text stood for. `1e999` would be infinite then
and `1e-999` zero, which is not what was written, so they are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

_MARK: Final = b"\xef\xbb\xbf"
"""Some write it first, and readers may ignore it (RFC 8259 §8.1)."""

LONG: Final = 300
"""Digits of a whole number that may be more than a double can hold."""

_SUSPECT: Final = tuple(re.compile(sign).search for sign in (rb"e[+-]?[0-9]{3}", rb"E[+-]?[0-9]{3}", rb"-0(?![.0-9])"))
_DIGIT: Final = re.compile(rb"[0-9]").search
_LONG: Final = re.compile(rb"[0-9]{%d}" % LONG).search
"""What numbers need a closer look for; it may well stand in a text instead. An expression for each, since one that does
not begin with the same byte in all its alternatives takes four times as long: this is on the path of every request."""

SHOWN: Final = 40
"""Characters of a number that a message shows."""


class UnfitNumber(ValueError):
    """A number that cannot be carried; the message names it."""


def read(document: bytes) -> Any:
    """The value of a JSON document, which may begin with a byte order mark; raises as `exactly` does."""
    return exactly(document.removeprefix(_MARK))


def read_object(document: bytes) -> dict[str, Any]:
    """The members of a JSON document that is an object.

    Raises:
        ValueError: it is none; the message ends a sentence and holds nothing of the text.
    """
    try:
        value = read(document)
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def exactly(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        UnfitNumber: a number in it cannot be carried.
        ValueError: not JSON, not UTF-8, nested more than 200 deep, or with half a surrogate pair.
    """
    value = from_json(text, allow_inf_nan=False)
    if not is_suspect(text):
        return value
    return json.loads(text, parse_float=_double, parse_int=_whole, parse_constant=_constant)


def written(value: Any) -> bytes:
    """The JSON text of a value. Half a surrogate pair, which UTF-8 does not have, is written as an escape."""
    try:
        return to_json(value)
    except ValueError:
        return json.dumps(value, separators=(",", ":")).encode()


def is_suspect(text: bytes) -> bool:
    """Whether a number in this JSON may be read as another one by any parser but ours."""
    for search in _SUSPECT:
        if search(text) is not None:
            return True
    if b"NaN" in text or b"Infinity" in text:
        return True
    # So many digits in a row have one at a multiple of their number.
    return _DIGIT(text[::LONG]) is not None and _LONG(text) is not None


def _double(text: str) -> float:
    value = float(text)
    digits = text.lower().partition("e")[0]
    if math.isinf(value) or (value == 0 and re.search("[1-9]", digits)):
        raise UnfitNumber(f"the number {text[:SHOWN]} is beyond what a double can hold")
    return value


def _whole(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _constant(text: str) -> NoReturn:
    raise UnfitNumber(f"{text} is no number in JSON")
