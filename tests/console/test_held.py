"""What another worker holds, as rows of the page Fleet: a stream, a session, a child; the first two are ended there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from playwright.async_api import Locator, Page, expect

from switchboard.aio import background
from tests.admin.conftest import Fleet
from tests.backends.conftest import SERVERS
from tests.console.conftest import at
from tests.console.test_accessible import findings
from tools.messages import ACCEPT, INITIALIZE, call, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def session(fleet: Fleet) -> dict[str, str]:
    """The headers of a session that was begun on the second worker."""
    begun = await fleet.b.post(fleet.workers[1].url, json=INITIALIZE, headers=ACCEPT)
    return {**ACCEPT, "mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}


@asynccontextmanager
async def stream(fleet: Fleet, headers: dict[str, str]) -> AsyncIterator[asyncio.Event]:
    """The session's stream, open on the second worker; set once it has ended."""
    opened, ended = asyncio.Event(), asyncio.Event()

    async def follow() -> None:
        async with fleet.b.stream("GET", fleet.workers[1].url, headers=headers) as response:
            assert response.status_code == 200
            opened.set()
            async for _ in response.aiter_lines():
                pass
        ended.set()

    async with background(follow()):
        await opened.wait()
        yield ended


async def column(page: Page, row: Locator, worker: str) -> Locator:
    """The cell of a row in the column of a worker."""
    await expect(row).to_be_visible()
    heads = await page.get_by_role("columnheader").all_inner_texts()
    return row.get_by_role("cell").nth(heads.index(worker) - 1)


async def test_a_stream_of_another_worker_is_a_row_in_its_column_and_is_ended_from_there(
    page: Page, fleet: Fleet
) -> None:
    headers = await session(fleet)
    async with stream(fleet, headers) as ended:
        await at(page, "fleet")
        await page.get_by_role("radio", name="Streams").check()
        row = page.get_by_role("row", name=headers["mcp-session-id"][:12])
        await expect(await column(page, row, fleet.id(1))).to_contain_text("open")
        await expect(await column(page, row, fleet.id(0))).to_have_text("")
        for scheme, width in (("light", 390), ("dark", 1280)):
            await page.emulate_media(color_scheme=cast("Any", scheme))
            await page.set_viewport_size({"width": width, "height": 800})
            assert await findings(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await row.get_by_role("button", name="End stream").click()
        await page.get_by_role("button", name="End it").click()
        await asyncio.wait_for(ended.wait(), 30)
        await expect(page.get_by_text("No client holds a stream open now.")).to_be_visible()
        audited = (await fleet.b.get("/audit?event=stream.ended")).json()["items"]

    assert [each["outcome"] for each in audited] == ["ok"]
    again = await fleet.b.post(fleet.workers[1].url, json=request("ping"), headers=headers)
    assert again.status_code == 200
    await fleet.b.delete(f"/sessions/{headers['mcp-session-id']}")


async def test_a_session_is_a_row_with_its_streams_and_is_ended_from_there(page: Page, fleet: Fleet) -> None:
    headers = await session(fleet)
    sid = headers["mcp-session-id"]
    async with stream(fleet, headers) as ended:
        await at(page, "fleet")
        await page.get_by_role("radio", name="Sessions").check()
        row = page.get_by_role("row", name=sid[:12])
        await expect(await column(page, row, fleet.id(1))).to_have_text("1 stream")
        await page.get_by_role("button", name=f"End session {sid[:12]}").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="End it").focus()
        await page.keyboard.press("Enter")
        await asyncio.wait_for(ended.wait(), 30)
        await expect(row).to_have_count(0)

    again = await fleet.b.post(fleet.workers[1].url, json=request("ping"), headers=headers)
    assert again.status_code == 404


async def test_a_child_of_another_worker_is_a_row_with_its_process_and_whose_it_is(page: Page, fleet: Fleet) -> None:
    server: dict[str, Any] = {"command": sys.executable, "args": ["-S", str(SERVERS / "raw.py")], "era": "handshake"}
    put = await fleet.b.put("/servers/raw", json=server)
    assert put.status_code == 200, put.text
    headers = await session(fleet)

    async with asyncio.timeout(30):
        while not (tools := (await fleet.b.get("/tools?provider=raw&search=echo")).json()["items"]):
            await asyncio.sleep(0.05)
    answer = await fleet.b.post(fleet.workers[1].url, json=call(tools[0]["name"]), headers=headers)
    assert "result" in answer.json(), answer.text
    found = (await fleet.a.get("/servers/raw/connections")).json()
    (child,) = [each for each in found["items"] if each["kind"] == "session"]
    assert (child["worker"], child["session"], child["subject"]) == (
        fleet.id(1),
        headers["mcp-session-id"],
        "anonymous",
    )

    await at(page, "fleet")
    button = page.get_by_role("button", name="Connections to raw")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "true")
    row = page.get_by_role("row", name=f"process {child['process']}")
    await expect(row).to_contain_text(f"session {headers['mcp-session-id'][:12]} of anonymous")
    await expect(await column(page, row, fleet.id(1))).to_contain_text("idle")
    server_row = page.get_by_role("row", name="Connections to raw")
    await expect(server_row.locator(".state.good")).to_have_text(["ready", "ready"])
    await expect(page.get_by_text("false", exact=True)).to_have_count(0)
    await fleet.b.delete(f"/sessions/{headers['mcp-session-id']}")
    await expect(row).to_have_count(0)  # its child ends with it
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "false")
    assert (await fleet.b.delete("/servers/raw", headers={"If-Match": put.headers["etag"]})).status_code == 204
    assert (await fleet.a.get("/servers/raw/connections")).status_code == 404
