"""Numbers of a request arrive as they were written, or the request is refused and told which."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard.common.strict_json import is_suspect
from switchboard.http.jsonrpc import Malformed, parse


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1E+400", "1" + "0" * 309 + ".0", "1.8e308", "1e-999", "-2.5e-400"]
)
def test_a_number_beyond_a_double_is_refused_and_named(number: str) -> None:
    with pytest.raises(Malformed, match=f"the number {number[:40].replace('+', '.')}.* is beyond") as caught:
        parse(b'{"a":[{"b":%s}]}' % number.encode())
    assert (caught.value.status, caught.value.code) == (400, -32700)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1" * 5_000, "01", "+1", "1.", ".5"])
def test_what_is_no_number_of_json_is_refused(number: str) -> None:
    with pytest.raises(Malformed, match="Parse error"):
        parse(b'{"a":%s}' % number.encode())


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("9007199254740993", 9007199254740993),
        ("18446744073709551616", 2**64),
        ("1" + "0" * 400, 10**400),
        ("0.1", 0.1),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("5e-324", 5e-324),
        ("0e-999", 0.0),
        ("0.12345678901234567890123", 0.12345678901234567890123),
        ("1e300", 1e300),
    ],
)
def test_every_other_number_is_carried(number: str, value: Any) -> None:
    found = parse(b"[%s]" % number.encode())[0]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("number", ["-0", "-0.0", "-0e0"])
def test_zero_keeps_its_sign(number: str) -> None:
    found = parse(b'{"a": %s }' % number.encode())["a"]
    assert found == 0
    assert math.copysign(1, found) == -1


def test_text_that_looks_like_such_a_number_is_text() -> None:
    text = b'{"a":"1e999 NaN -0","NaN":"Infinity","b":1}'
    assert is_suspect(text)
    assert parse(text) == {"a": "1e999 NaN -0", "NaN": "Infinity", "b": 1}


SIGN = re.compile(rb"[eE][+-]?[0-9]{3}|[0-9]{300}|NaN|Infinity|-0(?![.0-9])")
PIECES = (b"e", b"E", b"+", b"-", b"0", b"-0", b"7", b"12", b"999", b".", b",", b"NaN", b"Infinity", b" ")
LONG = (b"1" * 149, b"2" * 150, b"3" * 299)


@given(st.lists(st.sampled_from(PIECES + LONG), max_size=12).map(b"".join))
def test_what_looks_like_such_a_number_is_found_wherever_it_stands(text: bytes) -> None:
    assert is_suspect(text) == (SIGN.search(text) is not None)
