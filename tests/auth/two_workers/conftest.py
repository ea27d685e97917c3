"""Two workers of a real fleet, each with the authorization server in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet.workers import Fleet, running_fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two worker processes that nobody harms, logging everything."""
    with running_fleet(tmp_path_factory.mktemp("auth"), env={"LOG_LEVEL": "debug"}) as running:
        yield running
