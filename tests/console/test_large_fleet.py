"""5,000 tools, 500 servers and 10,000 sessions: the pages are paged and searched, and no answer is over 300 KB."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Response, expect

from switchboard.console.console import PAGES
from tests.console.conftest import at, opening_page
from tests.sessions.conftest import Worker, serving
from tools.fleet.children import free_port
from tools.messages import ACCEPT, initialize

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLS: Final = 5_000
SERVERS: Final = 500
SESSIONS: Final = 10_000
MOST_BYTES: Final = 300_000

PLUGIN: Final = f'''
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from switchboard.plugins import Plugin


def look(place: str, depth: int = 1) -> str:
    """Look at a place as deeply as is wanted, and say in a few words what is there and what is not."""
    return place


tool = Tool.from_function(look)
tools = [tool.model_copy(update={{"name": f"look-{{number:04}}"}}) for number in range({TOOLS})]
plugin = Plugin("many", "1.0.0", MCPServer("many", tools=tools))
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(fleet_redis: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    folder: Path = tmp_path_factory.mktemp("large")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "many.py").write_text(PLUGIN)
    row = {"command": "cat", "enabled": False, "description": "One of many servers of this fleet", "tags": ["a", "b"]}
    file = folder / "switchboard.json"
    file.write_text(json.dumps({"mcpServers": {f"server-{number:03}": row for number in range(SERVERS)}}))
    port = free_port()
    given: dict[str, Any] = {
        "config_file": file,
        "plugins_dir": folder / "plugins",
        "base_uri": f"http://localhost:{port}",
    }
    async with serving(fleet_redis, port, **given) as running:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.post(running.url, json=initialize("2025-11-25", {}), headers=ACCEPT)
        state = running.app.rooms.state
        first = state.keys.session(answer.headers["mcp-session-id"])
        async with state.redis.pipeline(transaction=False) as pipe:
            for _ in range(SESSIONS - 1):
                pipe.copy(first, state.keys.session(secrets.token_hex(24)))
            await pipe.execute()
        yield running


async def test_no_answer_to_a_page_is_over_300_kb(chromium: Browser, worker: Worker) -> None:
    sizes: dict[str, int] = {}

    async def weigh(response: Response) -> None:
        if response.status == 200 and "/admin/events" not in response.url:
            sizes[response.url] = len(await response.body())

    async with opening_page(chromium, worker.port) as page:
        page.on("response", weigh)
        for name in PAGES:
            await at(page, name)
    assert {url: size for url, size in sizes.items() if size > MOST_BYTES} == {}
    assert len(sizes) > len(PAGES)


async def test_one_of_5000_tools_is_found_and_one_of_500_servers(chromium: Browser, worker: Worker) -> None:
    async with opening_page(chromium, worker.port) as page:
        await at(page, "tools")
        await expect(page.get_by_text(f"100 of {TOOLS:,} tools")).to_be_visible()
        await page.get_by_label("Search").fill("look-4711")
        await expect(page.get_by_text("1 of 1 tool")).to_be_visible()
        await at(page, "servers")
        await expect(page.get_by_text(f"100 of {SERVERS} servers")).to_be_visible()
        await page.get_by_role("button", name="Show more").click()
        await expect(page.get_by_text(f"200 of {SERVERS} servers")).to_be_visible()
        await page.get_by_label("Search servers").fill("server-499")
        await expect(page.get_by_role("button", name="Enable server-499")).to_be_visible()
        await expect(page.get_by_text("1 of 1 server")).to_be_visible()
        await at(page, "sessions")
        await expect(page.get_by_text(f"100 of {SESSIONS:,} sessions")).to_be_visible()
        await page.get_by_role("button", name="Show more").click()
        await expect(page.get_by_text(f"200 of {SESSIONS:,} sessions")).to_be_visible()


async def test_the_fleet_page_shows_the_first_of_500_servers_and_finds_the_last(
    chromium: Browser, worker: Worker
) -> None:
    async with opening_page(chromium, worker.port) as page:
        await at(page, "fleet")
        await expect(page.get_by_text(f"The first 40 of {SERVERS} servers")).to_be_visible()
        await page.get_by_label("Search servers").fill("server-499")
        await expect(page.get_by_role("row", name="server-499")).to_be_visible()
        await expect(page.locator("tbody tr")).to_have_count(3)
