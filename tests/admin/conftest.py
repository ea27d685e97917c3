"""Two workers of one fleet, and a client of the API of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.sessions.conftest import Worker, serving

FILE = """
plugins:
  everything: {enabled: true}
mcpServers:
  off: {command: cat, enabled: false, description: A cat, env: {API_KEY: s3cr3t-value}}
presets:
  few: {description: Only a few, tags: few}
"""


@dataclass
class Fleet:
    """Two workers, and the API through each."""

    workers: tuple[Worker, Worker]
    a: httpx2.AsyncClient
    b: httpx2.AsyncClient

    def id(self, index: int) -> str:
        """A worker's name."""
        return self.workers[index].app.rooms.worker


def api(worker: Worker, **options: Any) -> httpx2.AsyncClient:
    """A client whose URLs are those below `/api`."""
    return httpx2.AsyncClient(base_url=f"http://localhost:{worker.port}/api", trust_env=False, timeout=120, **options)


@asynccontextmanager
async def opening(redis_url: str, folder: Path) -> AsyncIterator[Fleet]:
    file = folder / "switchboard.yaml"
    file.write_text(FILE)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(serving(redis_url, config_file=file)) for _ in range(2)]
        clients = [await stack.enter_async_context(api(worker)) for worker in workers]
        yield Fleet((workers[0], workers[1]), clients[0], clients[1])


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Nobody signs in; the test's own, whose configuration it may change."""
    async with opening(redis_url, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_fleet(fleet_redis: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Nobody signs in; one fleet for the tests of a module that change nothing of its configuration."""
    async with opening(fleet_redis, tmp_path_factory.mktemp("fleet")) as opened:
        yield opened
