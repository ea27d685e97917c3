"""The page Fleet while workers come and go: one is killed, one is drained and its streams move to another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from switchboard.aio import background
from tests.console.conftest import at, opening_page
from tests.sessions.conftest import KEY, Worker, serving
from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.fleet.workers import START_TIMEOUT, launch_worker
from tools.messages import ACCEPT, initialize

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = 3


class House:
    """A worker in this process, whose page is looked at, and two processes to lose."""

    def __init__(self, here: Worker, ports: list[int], children: list[Child]) -> None:
        self.here = here
        self.ports = ports
        self.children = children
        self.api = f"http://localhost:{here.port}/api"

    async def others(self, http: httpx2.AsyncClient) -> list[str]:
        """The other workers that serve."""
        found = (await http.get(f"{self.api}/workers")).json()["items"]
        return [each["id"] for each in found if each["id"] != self.here.app.rooms.worker and each["state"] == "serving"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(fleet_redis: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    port, ports = free_port(), [free_port(), free_port()]
    base = f"http://localhost:{port}"
    env = {"REDIS_URL": fleet_redis, "SECRET_KEY": KEY, "AUTH_MODE": "none", "BASE_URI": base, "LOG_LEVEL": "warning"}
    children = [launch_worker(folder, each, env | {"DRAIN_GRACE": "0", "RATE_LIMIT": "0"}) for each in ports]
    try:
        async with serving(fleet_redis, port, base_uri=base) as here:
            for each, child in zip(ports, children, strict=True):
                await asyncio.to_thread(child.wait_until, partial(answers, each, "/readyz"), START_TIMEOUT)
            yield House(here, ports, children)
    finally:
        for child in children:
            child.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, house: House) -> AsyncIterator[Page]:
    async with opening_page(chromium, house.here.port) as opened:
        yield opened


async def followed(http: httpx2.AsyncClient, urls: list[str], opened: asyncio.Queue[str]) -> None:
    """One client: begins a session at the first URL, and opens its stream at the next when one ends."""
    answer = await http.post(urls[0], json=initialize("2025-11-25", {}), headers=ACCEPT)
    headers = {**ACCEPT, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    await http.post(urls[0], json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    for url in urls:
        async with http.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200
            opened.put_nowait(url)
            async for _ in response.aiter_lines():
                pass


async def test_a_worker_is_drained_from_the_page_and_its_streams_are_seen_to_move(page: Page, house: House) -> None:
    opened: asyncio.Queue[str] = asyncio.Queue()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=60))
        before = await house.others(http)
        urls = [f"http://{LOOPBACK}:{house.ports[0]}/mcp", house.here.url]
        await stack.enter_async_context(background(*(followed(http, urls, opened) for _ in range(STREAMS))))
        assert [await opened.get() for _ in range(STREAMS)] == [urls[0]] * STREAMS
        await at(page, "fleet")
        streams = page.get_by_role("row", name=re.compile("^Streams"))
        await expect(streams).to_contain_text(str(STREAMS))
        cells = await streams.get_by_role("cell").all_inner_texts()
        heads = (await page.locator("thead").last.get_by_role("columnheader").all_inner_texts())[1:]
        (leaving,) = [name for name, text in zip(heads, cells, strict=True) if text.strip() == str(STREAMS)]
        await page.get_by_role("button", name=f"Drain {leaving}").click()
        await page.get_by_role("button", name="Drain", exact=True).click()
        await expect(page.get_by_text(f"{leaving} is leaving")).to_be_visible()
        assert [await opened.get() for _ in range(STREAMS)] == [house.here.url] * STREAMS
        mine = page.get_by_role("region", name=f"Worker {house.here.app.rooms.worker}")
        await expect(mine.locator("dd").first).to_have_text(str(STREAMS))
        card = page.get_by_role("region", name=f"Worker {leaving}")
        await expect(card.get_by_text("left", exact=True)).to_be_visible()
        await at(page, "fleet")  # as somebody who never saw it serve
        await expect(card.get_by_text("left", exact=True)).to_be_visible()

        assert leaving in before
        assert await house.others(http) == [name for name in before if name != leaving]


async def test_a_worker_that_dies_is_shown_as_that_and_the_others_go_on(page: Page, house: House) -> None:
    await at(page, "fleet")
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        (lost,) = await house.others(http)
    house.children[1].kill()
    card = page.get_by_role("region", name=f"Worker {lost}")
    await expect(card.get_by_text("silent", exact=True)).to_be_visible()
    await expect(card.get_by_text("dead", exact=True)).to_be_visible()

    await expect(page.locator("#sums")).to_contain_text("1 worker ·")
    await expect(page.get_by_role("button", name=f"Drain {lost}")).to_have_count(0)


async def test_a_page_whose_worker_is_gone_keeps_what_it_showed_and_says_since_when(page: Page) -> None:
    await page.route("**/admin/events", lambda route: route.abort())
    await page.clock.install()
    await at(page, "fleet")
    await page.clock.run_for(10_000)

    await expect(page.get_by_role("alert")).to_contain_text("What is shown was so at")
    await expect(page.get_by_role("button", name=re.compile("^Drain"))).to_have_count(1)
