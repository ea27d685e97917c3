"""The console in a real Chromium: each control driven, and its effect looked for on another worker."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from switchboard.console.console import PAGES
from tests.admin.conftest import Fleet
from tests.backends.conftest import SERVERS
from tests.chromium import AUDIT, GOOD, WITHIN_MS
from tools.messages import ACCEPT, INITIALIZE, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Console:
    """A page of the first worker's console, and what it complained about."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self._base = base
        self.complaints: list[str] = []
        page.on("console", lambda each: self._heard(each.type, each.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    async def open(self, name: str) -> Page:
        await self.page.goto(f"{self._base}/admin/{name}")
        await self.page.wait_for_selector("#page[aria-busy=false]")
        return self.page


@pytest_asyncio.fixture(loop_scope="module")
async def console(chromium: Browser, fleet: Fleet) -> AsyncIterator[Console]:
    context = await chromium.new_context()
    context.set_default_timeout(WITHIN_MS)
    yield Console(await context.new_page(), f"http://localhost:{fleet.workers[0].port}")
    await context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 340)])
async def test_every_page_is_named_structured_fits_and_complains_of_nothing(
    chromium: Browser, fleet: Fleet, scheme: Any, width: int
) -> None:
    """WCAG 1.4.10, 2.4.2, 2.5.8, 3.1.1, 4.1.2."""
    context = await chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    console = Console(await context.new_page(), f"http://localhost:{fleet.workers[0].port}")
    found = {name: await (await console.open(name)).evaluate(AUDIT) for name in PAGES}
    await context.close()

    assert found == dict.fromkeys(PAGES, GOOD)
    assert console.complaints == []


async def test_a_server_is_added_changed_switched_and_removed_for_the_whole_fleet(
    console: Console, fleet: Fleet
) -> None:
    page = await console.open("servers")
    await page.get_by_role("button", name="Add a server").click()
    await page.get_by_label("Name").fill("kitten")
    row = page.get_by_role("textbox", name="As the configuration file has it")
    await row.fill('{"command": "cat", "enabled": "sometimes"}')
    await page.get_by_role("button", name="Check first").click()
    await expect(page.get_by_role("alert")).to_contain_text("enabled")
    await row.fill('{"command": "no-such-program", "enabled": false}')
    await page.get_by_role("button", name="Check first").click()
    await expect(page.get_by_role("alert")).to_contain_text("This would be valid, but the server does not answer")
    child = {"command": sys.executable, "args": ["-S", str(SERVERS / "raw.py")], "era": "handshake", "enabled": False}
    await row.fill(json.dumps(child))
    await page.get_by_role("button", name="Check first").click()
    await expect(page.get_by_text("and the server answers: 6 tools, 0 resources, 0 prompts")).to_be_visible()
    assert (await fleet.b.get("/servers/kitten")).status_code == 404
    await page.get_by_label("Name").fill("off")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("There is a server off already: choose another name")
    await page.get_by_label("Name").fill("kitten")
    await row.fill('{"command": "cat", "enabled": false}')
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_role("button", name="Enable kitten").wait_for()
    assert (await fleet.b.get("/servers/kitten")).json()["enabled"] is False

    await page.get_by_role("button", name="Enable kitten").click()
    await page.get_by_role("button", name="Disable kitten").wait_for()
    assert (await fleet.b.get("/servers/kitten")).json()["enabled"] is True
    await page.get_by_role("button", name="Disable kitten").click()
    await page.get_by_role("button", name="Enable kitten").wait_for()

    await page.get_by_role("button", name="Change kitten").click()
    theirs = (await fleet.b.get("/servers/kitten")).headers["ETag"]
    await fleet.b.put(
        "/servers/kitten",
        json={"command": "cat", "enabled": False, "description": "theirs"},
        headers={"If-Match": theirs},
    )
    await row.fill('{"command": "cat", "enabled": false, "description": "mine"}')
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_contain_text("theirs")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("row", name="kitten")).to_contain_text("mine")
    assert (await fleet.b.get("/servers/kitten")).json()["description"] == "mine"

    await page.get_by_role("button", name="Remove kitten").click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(page.get_by_role("row", name="kitten")).to_have_count(0)
    assert (await fleet.b.get("/servers/kitten")).status_code == 404
    assert [each for each in console.complaints if not {"412", "428"} & set(each.split())] == []


async def test_a_tool_is_tried_with_a_form_made_from_its_schema(console: Console) -> None:
    page = await console.open("tools")
    await page.get_by_label("Search").fill("add")
    await page.get_by_role("button", name="Try add").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("spinbutton").nth(0).fill("2")
    await dialog.get_by_role("spinbutton").nth(1).fill("3")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("status")).to_contain_text("5")
    await dialog.get_by_role("button", name="Write JSON instead").click()
    await dialog.get_by_label("Arguments as JSON").fill('{"a": 40, "b": 2}')
    await dialog.get_by_role("button", name="Call", exact=True).click()
    await expect(dialog.get_by_role("status")).to_contain_text("42")
    assert console.complaints == []


async def test_progress_is_shown_and_a_question_of_a_tool_is_answered_in_the_page(console: Console) -> None:
    page = await console.open("tools")
    await page.get_by_label("Search").fill("longRunning")
    await page.get_by_role("button", name="Try longRunningOperation").click()
    dialog = page.get_by_role("dialog").first
    await dialog.get_by_label("Duration").fill("0.2")
    await dialog.get_by_label("Steps").fill("2")
    await dialog.get_by_role("button", name="Call", exact=True).click()
    await expect(dialog.get_by_role("status")).to_contain_text("Done.")
    await expect(dialog.locator("pre").nth(1)).to_contain_text("2")
    await dialog.get_by_role("button", name="Close").click()

    await page.get_by_label("Search").fill("multiRound")
    await page.get_by_role("button", name="Try multiRoundTrip").click()
    await page.get_by_role("button", name="Call", exact=True).click()
    question = page.get_by_role("dialog", name="The tool asks")
    await question.get_by_role("combobox").select_option("Lisbon")
    await question.get_by_role("button", name="Answer").click()
    await question.get_by_role("spinbutton").fill("3")
    await question.get_by_role("button", name="Answer").click()
    outcome = page.get_by_role("dialog").get_by_role("status")
    await expect(outcome).to_contain_text("Lisbon")
    await expect(outcome).to_contain_text("3")
    assert console.complaints == []


async def test_a_plugin_is_switched_and_configured_for_the_whole_fleet(console: Console, fleet: Fleet) -> None:
    page = await console.open("plugins")
    await page.get_by_role("button", name="Disable everything").click()
    await page.get_by_role("button", name="Enable everything").wait_for()
    assert (await fleet.b.get("/plugins/everything")).json()["enabled"] is False
    await page.get_by_role("button", name="Enable everything").click()
    await page.get_by_role("button", name="Disable everything").wait_for()
    assert (await fleet.b.get("/plugins/everything")).json()["enabled"] is True

    await page.get_by_role("button", name="Configure everything").click()
    await page.get_by_role("textbox").fill("[1]")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_role("textbox").fill("{}")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#said")).to_contain_text("is configured on every worker")
    assert [each for each in console.complaints if "422" not in each] == []


async def test_a_session_of_another_worker_is_ended(console: Console, fleet: Fleet) -> None:
    begun = await fleet.b.post(fleet.workers[1].url, json=INITIALIZE, headers=ACCEPT)
    sid = begun.headers["mcp-session-id"]
    page = await console.open("sessions")
    await page.get_by_role("button", name=f"End session {sid[:12]}").click()
    await page.get_by_role("button", name="End it").click()
    await expect(page.get_by_role("button", name=f"End session {sid[:12]}")).to_have_count(0)
    again = await fleet.b.post(fleet.workers[1].url, json=request("ping"), headers={**ACCEPT, "mcp-session-id": sid})
    assert again.status_code == 404


async def test_the_configuration_is_changed_and_an_earlier_one_brought_back_for_the_whole_fleet(
    console: Console, fleet: Fleet
) -> None:
    page = await console.open("configuration")
    patch = page.get_by_role("textbox")
    await patch.fill('{"presets": {"few": {"tags": 3}}}')
    await expect(page.locator("p.note.bad")).to_contain_text("tags")
    await patch.fill('{"presets": {"some": {"tags": "some"}}}')
    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(page.locator("#document")).to_contain_text('"some"')
    assert [each["name"] for each in (await fleet.b.get("/presets")).json()["items"]] == ["few", "some"]

    await patch.fill('{"presets": {"some": null}}')
    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(page.locator("#document")).not_to_contain_text('"some"')
    revisions = page.get_by_role("button", name="Restore revision")
    await revisions.first.click()
    await page.get_by_role("button", name="Restore", exact=True).click()
    await expect(page.locator("#document")).to_contain_text('"some"')
    page = await console.open("audit")
    await expect(page.get_by_role("table")).to_contain_text("configuration.changed")
    await page.get_by_label("Event").fill("session.ended")
    await expect(page.get_by_role("table")).not_to_contain_text("configuration.changed")
    await page.get_by_role("button", name="Check the log").click()
    await expect(page.locator("#said")).to_contain_text("as they were written")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export").click()
    assert (await download.value).suggested_filename == "audit.jsonl"


async def test_the_fleet_is_shown_live_and_a_worker_is_drained_with_the_keyboard_alone(
    console: Console, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr("switchboard.app.os.kill", lambda _pid, number: left.append(number))
    page = await console.open("fleet")
    other = fleet.id(1)
    await page.get_by_role("button", name=f"Drain {other}").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Drain", exact=True).focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#said")).to_contain_text("is leaving")
    fleet.workers[1].app.drain()
    await expect(page.get_by_role("region", name=f"Worker {other}")).to_contain_text("draining")
    assert len(left) == 1
