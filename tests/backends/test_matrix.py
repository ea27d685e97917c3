"""Every kind of client has each feature of every kind of backend; docs/gateway.md shows what the last run saw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.matrix import diary as days
from tools.matrix import table
from tools.matrix.diary import BACKEND_SIDES, CLIENT_SIDES, Diary
from tools.matrix.features import FEATURES, Feature

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
PAIRS = [
    pytest.param(client_side, backend_side, id=f"{client_side.name}-{backend_side.name}")
    for client_side in CLIENT_SIDES
    for backend_side in BACKEND_SIDES
]

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
@pytest.mark.parametrize(("client_side", "backend_side"), PAIRS)
def test_the_feature_passes_through_or_the_protocol_forbids_it(
    diary: Diary,
    passed: dict[table.Cell, str],
    client_side: days.ClientSide,
    backend_side: days.BackendSide,
    feature: Feature,
) -> None:
    expected = "yes" if feature.hole(modern=backend_side.modern) is None else "hole"
    came = diary[client_side.name, backend_side.name][feature.title]
    assert came == expected
    passed[feature.title, client_side.name, backend_side.name] = came


def test_the_table_in_the_documentation_is_what_was_seen(passed: dict[table.Cell, str]) -> None:
    if len(passed) < len(PAIRS) * len(FEATURES) and not os.environ.get("WRITE_MATRIX"):
        pytest.skip("only a part of the matrix has run, or passed")
    if os.environ.get("WRITE_MATRIX"):
        table.write(PAGE, table.table(passed))
    assert table.written(PAGE) == table.table(passed), "docs/gateway.md is not what was seen: run `make matrix`"
