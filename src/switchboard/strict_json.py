"""JSON that others wrote, read so that whatever passes can be kept and written again.

A leaf. Python's own reader takes NaN, infinities, half surrogates and any depth, and the writer then fails on them,
after something was stored.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

_MARK = b"\xef\xbb\xbf"
"""Some write it first, and readers may ignore it (RFC 8259 §8.1)."""


def read(data: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, not UTF-8, nested more than 200 deep, or with a number or character that is none.
    """
    value = from_json(data.removeprefix(_MARK) if isinstance(data, bytes) else data, allow_inf_nan=False)
    json.dumps(value, allow_nan=False)  # numbers such as 1e999 are read as infinite
    return value
