"""JSON's numbers: those that cannot be carried are refused, so that none arrives as another or as null.

A leaf. Whole numbers are carried as they are, up to 4,300 digits. Others are doubles, as RFC 8259 §6 advises: whoever
reads them at the other end gets the double that the text stood for. `1e999` would be infinite then and `1e-999` zero,
which is not what was written, and `NaN` is no JSON.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

_SUSPECT: Final = re.compile(rb"[eE][+-]?[0-9]{3}|[0-9]{300}|NaN|Infinity|-0(?![.0-9])")
"""What numbers need a closer look for; it may well stand in a text instead."""

SHOWN: Final = 40


class UnfitNumber(ValueError):
    """A number that cannot be carried; the message names it."""


def is_suspect(text: bytes) -> bool:
    """Whether `exactly` may read something else in this JSON than any parser does."""
    return _SUSPECT.search(text) is not None


def exactly(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        UnfitNumber: a number in it cannot be carried.
        ValueError: it is no JSON.
    """
    return json.loads(text, parse_float=_double, parse_int=_whole, parse_constant=_constant)


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
