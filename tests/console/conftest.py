"""The people and workers of the pages of `account`, for the console; two workers and a browser for its own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.account.conftest import mcp_token, open_house, provider
from tests.admin.conftest import FILE, Fleet, api
from tests.chromium import launched
from tests.sessions.conftest import serving
from tools.fleet.children import free_port

__all__ = ["mcp_token", "open_house", "provider"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(fleet_redis: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two workers behind the public URL of the first; nobody signs in."""
    file = tmp_path_factory.mktemp("console") / "switchboard.yaml"
    file.write_text(FILE)
    port = free_port()
    given: dict[str, Any] = {"config_file": file, "base_uri": f"http://localhost:{port}"}
    async with (
        serving(fleet_redis, port, **given) as first,
        serving(fleet_redis, **given) as second,
        api(first) as a,
        api(second) as b,
    ):
        yield Fleet((first, second), a, b)
