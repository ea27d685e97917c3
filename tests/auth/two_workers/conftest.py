"""Two workers of a real fleet, each with the authorization server in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tools.fleet.workers import Fleet, running_fleet

TOOLS = {"echo": {"scopes": ["echo:use"]}, "add": {"scopes": ["echo:use", "numbers"]}}
"""What these tools of the demo toolset need, besides what all tools need."""


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two worker processes that nobody harms, logging everything; two tools need scopes of their own."""
    folder = tmp_path_factory.mktemp("auth")
    config = folder / "config.json"
    config.write_text(json.dumps({"plugins": {"everything": {"tools": TOOLS}}}))
    env = {"CONFIG_FILE": str(config), "EXTRA_SCOPES": "echo:use,numbers", "LOG_LEVEL": "debug"}
    with running_fleet(folder, env=env) as running:
        yield running
