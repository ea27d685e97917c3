"""Every kind of client has each feature of every kind of backend; docs/gateway.md shows what the last run saw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.matrix import diary as days
from tools.matrix import table
from tools.matrix.diary import NORTHS, SOUTHS, Diary
from tools.matrix.features import FEATURES, Feature

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
PAIRS = [pytest.param(north, south, id=f"{north.name}-{south.name}") for north in NORTHS for south in SOUTHS]

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mcp"),
]
"""Some of the servers run in this process; they use what the modern era has left behind."""


@pytest.fixture(scope="module")
def diary(tmp_path_factory: pytest.TempPathFactory) -> Diary:
    """What every client saw at every backend."""
    return days.live(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def passed() -> dict[table.Cell, str]:
    """The cells whose tests have passed in this run."""
    return {}


@pytest.mark.parametrize("feature", FEATURES, ids=lambda one: one.check.__name__)
@pytest.mark.parametrize(("north", "south"), PAIRS)
def test_the_feature_passes_through_or_the_protocol_forbids_it(
    diary: Diary, passed: dict[table.Cell, str], north: days.North, south: days.South, feature: Feature
) -> None:
    expected = "yes" if feature.hole(modern=south.modern) is None else "hole"
    came = diary[north.name, south.name][feature.title]
    assert came == expected
    passed[feature.title, north.name, south.name] = came


def test_the_table_in_the_documentation_is_what_was_seen(passed: dict[table.Cell, str]) -> None:
    if len(passed) < len(PAIRS) * len(FEATURES) and not os.environ.get("WRITE_MATRIX"):
        pytest.skip("only a part of the matrix has run, or passed")
    if os.environ.get("WRITE_MATRIX"):
        table.write(PAGE, table.table(passed))
    assert table.written(PAGE) == table.table(passed), "docs/gateway.md is not what was seen: run `make matrix`"
