"""The people and workers of the pages of `account`, for the console; two workers and a browser for its own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.account.conftest import mcp_token, open_house, provider
from tests.admin.conftest import FILE, Fleet, api
from tests.chromium import WITHIN_MS, launched
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
    async with two_workers(fleet_redis, tmp_path_factory.mktemp("console")) as found:
        yield found


@asynccontextmanager
async def two_workers(redis: str, folder: Path, **settings: Any) -> AsyncIterator[Fleet]:
    """The same, with further settings; their configuration file is in the folder."""
    file = folder / "switchboard.yaml"
    file.write_text(FILE)
    port = free_port()
    given: dict[str, Any] = {"config_file": file, "base_uri": f"http://localhost:{port}", **settings}
    async with (
        serving(redis, port, **given) as first,
        serving(redis, **given) as second,
        api(first) as a,
        api(second) as b,
    ):
        yield Fleet((first, second), a, b)


@asynccontextmanager
async def opening_page(chromium: Browser, port: int) -> AsyncIterator[Page]:
    """A page of the worker at a port; a script that fails fails the test."""
    base = f"http://localhost:{port}/admin/"
    context = await chromium.new_context(
        base_url=base, viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
    )
    opened = await context.new_page()
    opened.set_default_timeout(WITHIN_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    await context.close()
    assert not faults


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, fleet: Fleet) -> AsyncIterator[Page]:
    """A page of the first worker."""
    async with opening_page(chromium, fleet.workers[0].port) as opened:
        yield opened


async def at(page: Page, name: str) -> None:
    """Open a page of the console, and wait until it shows what it is about."""
    await page.goto(name)
    await expect(page.locator("#page")).to_have_attribute("aria-busy", "false")
    await expect(page.locator("#page > .note.bad")).to_have_count(0)
