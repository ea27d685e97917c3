"""What a row of the configuration says about how much of a server is put up with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from switchboard.backend_configs import backend
from switchboard.backends import Bounds
from switchboard.config import ServerSection

URL = "https://mcp.example.com/mcp"


def test_the_bounds_of_a_server_are_those_of_its_row() -> None:
    row = {"url": URL, "message_bytes": 100_000, "definitions": 5_000}
    section = ServerSection.model_validate({**row, "definition_bytes": 2_000, "definitions_bytes": 90_000})
    bounds = backend("odd", section, None).bounds
    assert bounds == Bounds(message_bytes=100_000, items=5_000, pages=500, definition_bytes=2_000, offer_bytes=90_000)


def test_a_row_that_says_nothing_gets_the_defaults() -> None:
    assert backend("odd", ServerSection.model_validate({"url": URL}), None).bounds == Bounds()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_bytes", 10),
        ("message_bytes", "many"),
        ("definitions", 0),
        ("definition_bytes", 1),
        ("definitions_bytes", 1 << 40),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        ServerSection.model_validate({"url": URL, field: value})
