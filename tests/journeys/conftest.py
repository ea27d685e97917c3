"""Journeys: real clients against a real fleet, behind a load balancer that takes strict turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.fleet.redis_server import RedisServer
from tools.fleet.workers import Fleet, running_fleet

CLIENTS = Path(__file__).parent / "clients"
QUICK = {"plugins": {"everything": {"config": {"resource_updates": 1, "log_messages": 1, "stderr_messages": 1}}}}
"""The demo toolset speaks unasked each second here, so that nobody waits for it."""


def _config(folder: Path) -> dict[str, str]:
    config = folder / "config.json"
    config.write_text(json.dumps(QUICK))
    return {"CONFIG_FILE": str(config), "LOG_LEVEL": "debug"}


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two workers that nobody harms."""
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(folder, env=_config(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def token(fleet: Fleet) -> str:
    """An access token of alice's for the shared fleet, by the real flow."""
    return fleet.token("alice")


@pytest.fixture
def start_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Start a fleet of one's own, to kill workers of: `start_fleet(workers=2, env={…})`."""
    with ExitStack() as stack:

        def start(*, workers: int = 2, env: dict[str, str] | None = None, redis: RedisServer | None = None) -> Fleet:
            settings = _config(tmp_path) | (env or {})
            return stack.enter_context(running_fleet(tmp_path, workers=workers, env=settings, redis=redis))

        yield start


@pytest.fixture(scope="session")
def node() -> str:
    """The Node that `make node` installed beside the official TypeScript clients and MCP Inspector."""
    found = CLIENTS / "node_modules" / ".bin" / "node"
    if not found.exists():
        pytest.skip("no Node and official TypeScript clients: run `make node`")
    return str(found)
