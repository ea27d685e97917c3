"""Every page of the console in Chromium: axe in both themes and at two widths, and the keyboard alone."""

from __future__ import annotations

from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from switchboard.console.console import PAGES
from tests.admin.conftest import Fleet
from tests.console.conftest import at

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKS: Final[list[tuple[Any, int, str]]] = [
    ("light", 1280, ""),
    ("dark", 1280, "color-contrast"),
    ("dark", 390, ""),
    ("light", 390, "color-contrast"),
]
"""A theme, a width, and the one rule that is looked at in it: the others are of what a theme does not change."""

DIALOGS: Final = {
    "fleet": "Drain",
    "servers": "Add a server",
    "tools": "Try longRunningOperation",
    "plugins": "Configure everything",
    "presets": "Make a preset",
    "credentials": "Set a value",
}
"""By the page, the button that opens a dialog on it."""

OUTLINED: Final = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const style = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  return {
    named: (at.getAttribute("aria-label") || at.labels?.[0]?.innerText || at.innerText || "").trim(),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
      && box.bottom > 0 && box.top < innerHeight,
  };
}"""
"""What has the focus now, and whether a person sees that it has."""


async def findings(page: Page, rule: str = "") -> list[str]:
    """What axe finds serious or critical, by all its rules or one."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": [rule]} if rule else {})
    found = (await Axe().run(page, options=options)).response["violations"]
    return [
        f"{each['id']}: {node['html']}: {node['failureSummary']}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing_serious_on_a_page_and_in_its_dialog(page: Page, name: str) -> None:
    await at(page, name)
    for scheme, width, rule in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        assert await findings(page, rule) == [], (scheme, width)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
    if button := DIALOGS.get(name):
        await page.get_by_role("button", name=button).first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await findings(page) == []
        await page.emulate_media(color_scheme="dark")
        assert await findings(page, "color-contrast") == []


@pytest.mark.parametrize("name", PAGES)
async def test_the_tab_key_reaches_every_control_and_shows_where_it_is(page: Page, name: str) -> None:
    await at(page, name)
    reached: list[str] = []
    while True:
        await page.keyboard.press("Tab")
        focus = await page.evaluate(OUTLINED)
        if focus is None:
            break
        assert focus["seen"], focus["named"]
        reached.append(focus["named"])
    wanted = await page.locator(
        "button:enabled:visible, main a:visible, main input:visible, main textarea:visible"
    ).count()

    assert reached[0] == "To the content"
    assert len(reached) > wanted
    assert all(reached)


async def test_a_dialog_is_left_with_escape_and_the_focus_goes_back_to_its_button(page: Page) -> None:
    await at(page, "servers")
    button = page.get_by_role("button", name="Add a server")
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Add a server")
    await expect(dialog.locator(":focus")).to_have_count(1)
    await page.keyboard.press("Escape")

    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()


async def test_a_server_is_switched_on_with_the_keyboard_and_the_focus_stays_in_its_row(
    page: Page, fleet: Fleet
) -> None:
    await at(page, "servers")
    await page.get_by_role("button", name="Enable off").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Disable off")).to_be_focused()
    on = (await fleet.b.get("/servers/off")).json()["enabled"]
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Enable off")).to_be_focused()

    assert (on, (await fleet.b.get("/servers/off")).json()["enabled"]) == (True, False)
