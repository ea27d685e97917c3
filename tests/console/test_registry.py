"""A server of the registry is searched, looked at, checked and added in the page; the other worker has it then."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.admin.conftest import Fleet
from tests.console.conftest import at, two_workers
from tests.sources.registry import LocalRegistry, registry

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalRegistry]:
    async with registry() as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    fleet_redis: str, local: LocalRegistry, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("console")
    async with two_workers(fleet_redis, folder, mcp_registry_url=local.url) as found:
        yield found


async def test_a_server_of_the_registry_is_searched_filled_in_checked_and_added(page: Page, fleet: Fleet) -> None:
    await at(page, "servers")
    await page.get_by_role("button", name="Add from the registry").click()
    await page.get_by_role("dialog").get_by_label("Search").fill("weather")
    await page.get_by_role("button", name="Choose io.github.example/weather").click()
    dialog = page.get_by_role("dialog", name="Add Weather")
    await expect(dialog).to_contain_text("token is a secret: set the variable MCP_WEATHER_TOKEN")
    await dialog.get_by_label("How").select_option("A program, from npm")
    await expect(dialog).to_contain_text("API_KEY is a secret: set the variable")
    row = dialog.get_by_label("As the configuration file has it")
    await dialog.get_by_label("folder").fill("/srv/weather")
    await expect(row).to_have_value(re.compile("/srv/weather"))
    await dialog.get_by_label("Name").fill("forecast")
    await dialog.get_by_role("button", name="Check first").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("the variable MCP_WEATHER_API_KEY is not set")
    section = json.loads((await row.input_value()).replace("${MCP_WEATHER_API_KEY}", "k3y"))
    await row.fill(json.dumps(section | {"enabled": False}))
    await dialog.get_by_role("button", name="Check first").click()
    await expect(page.get_by_text("This would be valid")).to_be_visible()
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_text("forecast is added on every worker")).to_be_visible()

    added = (await fleet.b.get("/servers/forecast")).json()["row"]
    assert "/srv/weather" in added["args"]
    assert "API_KEY" in added["env"]


async def test_a_registry_that_is_away_is_told_in_the_dialogue(page: Page, local: LocalRegistry) -> None:
    local.fault = b"<h1>"
    try:
        await at(page, "servers")
        await page.get_by_role("button", name="Add from the registry").click()
        await expect(page.get_by_role("alert")).to_contain_text(local.url)
    finally:
        local.fault = b""
