"""The lab's pages in a browser, and that they show what clients wrote as text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from switchboard.lab.diagram import DRAWN, diagram
from tests.chromium import AUDIT, GOOD, launched
from tests.lab.in_process import Clock, opened

HOSTILE = '</bdi><script>alert(1)</script>"><svg onload=alert(2)>'


def hop(number: int, place: str, status: int = 200, **values: Any) -> dict[str, Any]:
    """A hop, as the document of a run has it."""
    return {"number": number, "place": place, "status": status, "sent": {}, "answered": {}} | values


def test_the_flow_shows_who_asked_whom_and_that_the_browser_was_led_back() -> None:
    drawn = diagram(
        "plain",
        [
            hop(1, "mcp", 401, sent={"method": "tools/list"}),
            hop(2, "authorize", 303, answered={"location": "http://127.0.0.1/back", "error": "access_denied"}),
            hop(3, "token endpoint", 400, sent={"grant_type": "refresh_token"}),
        ],
        3,
    )
    labels = re.findall(r'<a href="(#[^"]*)" class="([^"]*)" aria-label="[^"]*"><text[^>]*>([^<]*)<', drawn)
    lines = re.findall(r'<path d="M(\d+) \d+H(\d+)m', drawn)

    assert labels == [
        ("#plain-1", "asked", "1. tools/list → 401"),
        ("#plain-2", "asked", "2. authorize → 303"),
        ("#plain-2", "led", "callback: access_denied"),
        ("#plain-3", "asked bad", "3. token (refresh_token) → 400"),
    ]
    browser, client, resource, issuer = re.findall(r'<text x="(\d+)" y="12"', drawn)
    assert lines == [(client, resource), (browser, issuer), (browser, client), (client, issuer)]


def test_the_flow_of_many_requests_is_bounded_and_shows_what_clients_send_as_text() -> None:
    drawn = diagram("plain", [hop(n, "mcp", sent={"method": HOSTILE}) for n in range(1, 301)], None)

    assert drawn.count("<a ") == DRAWN
    assert "<script" not in drawn
    assert "<svg onload" not in drawn


async def test_what_a_client_calls_itself_sends_and_writes_is_text_on_every_page() -> None:
    async with opened(Clock()) as http:
        begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
        endpoint = begun["urls"]["plain"]
        about = {"redirect_uris": [HOSTILE], "client_name": HOSTILE}
        await http.post(endpoint.removesuffix("/mcp") + "/register", json=about)
        await http.post(endpoint, params={HOSTILE: HOSTILE}, json={"method": HOSTILE})
        said = {"scenario": "plain", "exit_code": 1, "output": HOSTILE}
        await http.post(f"/lab/api/runs/{begun['run']}/end", json=said)
        (client,) = (await http.get("/lab/api/clients")).json()
        paths = (f"/lab/run/{begun['run']}", "/lab/clients", f"/lab/clients/{client['id']}")
        pages = [await http.get(path) for path in paths]

    assert [page.status_code for page in pages] == [200, 200, 200]
    for page in pages:
        assert HOSTILE not in page.text
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert "'unsafe" not in page.headers["content-security-policy"]


async def test_a_client_has_a_verdict_for_every_scenario_with_the_rule_and_the_request_that_broke_it() -> None:
    async with opened(Clock()) as http:
        begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
        asked = {"Authorization": "Bearer made-up", "User-Agent": "tester/1"}
        await http.post(begun["urls"]["plain"], params={"access_token": "t"}, json={}, headers=asked)
        await http.post(f"/lab/api/runs/{begun['run']}/end", json={"scenario": "plain"})
        (listed,) = (await http.get("/lab/api/clients")).json()
        client = (await http.get(f"/lab/api/clients/{listed['id']}")).json()
        page = (await http.get(f"/lab/clients/{listed['id']}")).text
        unknown = [(await http.get(path)).status_code for path in ("/lab/clients/none", "/lab/api/clients/none")]

    rows = {row["name"]: row for row in client["scenarios"]}
    assert (client["client"], client["failed"], client["not_tried"]) == ("tester/1", 1, len(rows) - 1)
    assert rows["plain"]["broken"]["rule"] == "header-only"
    assert f'href="/lab/run/{begun["run"]}#plain-1"' in page
    assert unknown == [404, 404]


async def test_a_run_by_hand_leads_to_its_page_with_its_endpoints() -> None:
    async with opened(Clock()) as http:
        left = await http.post("/lab/runs")
        page = await http.get(left.headers["location"])

    assert left.status_code == 303
    assert f"{left.headers['location']}/wrong-iss/mcp" in page.text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("width", [390, 1200])
async def test_the_page_of_a_run_grows_without_a_reload_and_fits_a_phone(
    chromium: Browser, lab: str, width: int
) -> None:
    viewport: Any = {"width": width, "height": 800}
    async with await chromium.new_context(viewport=viewport) as browser, httpx2.AsyncClient() as http:
        page = await browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(f"{lab}/lab")
        await page.get_by_role("button", name="Begin a run of your own").click()
        await page.get_by_text("No client has done anything in this run yet").wait_for()
        await page.evaluate("window.stays = true")
        endpoint = f"{page.url}/plain/mcp"
        await http.post(endpoint, json={"method": "tools/list"}, headers={"User-Agent": "first/1"})
        await page.get_by_text("1 requests").click()
        await http.post(endpoint, json={"method": "tools/call"})
        await page.get_by_text("2. tools/call → 401").wait_for()
        found = await page.evaluate(AUDIT)
        stays = await page.evaluate("[window.stays, document.getElementById('plain-hops').open]")
        await page.goto(f"{lab}/lab/clients")
        await page.get_by_role("link", name="first/1").first.click()
        clients = await page.evaluate(AUDIT)

    assert stays == [True, True]
    assert (found, clients, said) == (GOOD, GOOD, [])
