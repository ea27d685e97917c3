"""The pages in a real Chromium: with a keyboard, without scripts, on a phone, in the dark, and with nothing blocked."""

from __future__ import annotations

import os
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.account.conftest import House
from tests.chromium import AUDIT, GOOD, chromium, started, watched

__all__ = ["chromium", "started"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def sign_in(page: Page, address: str, user: str = "alice") -> None:
    """Go there, and be `user`, by the keyboard."""
    await page.goto(address)
    await page.get_by_role("button", name="Allow").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("User ID").fill(user)
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_person_connects_by_a_calls_link_with_the_keyboard_alone(
    chromium: Browser, house: House, scripts: bool
) -> None:
    page, complaints = await watched(chromium, java_script_enabled=scripts)
    await sign_in(page, house.link("alice"))
    await page.get_by_role("button", name="Connect", exact=True).focus()
    await page.keyboard.press("Enter")

    await page.get_by_role("heading", name="Issue <tracker> is connected").wait_for()
    assert complaints == []


async def test_what_is_typed_is_checked_stored_and_never_shown(chromium: Browser, house: House) -> None:
    page, complaints = await watched(chromium)
    await sign_in(page, f"{house.base}/connections/connect/weather")
    key = page.get_by_label("API key")
    await key.fill("wrong")
    await page.get_by_role("button", name="Store").click()
    assert not await key.evaluate("field => field.validity.valid")

    await key.fill("sk-1")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Weather is connected").wait_for()
    await page.get_by_role("link", name="My connections").click()
    await page.get_by_role("link", name="Change").click()

    assert await page.get_by_label("API key").input_value() == ""
    assert await page.get_by_label("API key").get_attribute("placeholder") == "stored; leave empty to keep"
    assert "sk-1" not in await page.content()
    assert complaints == []


async def test_a_person_disconnects_and_signs_out(chromium: Browser, house: House) -> None:
    page, complaints = await watched(chromium)
    await sign_in(page, f"{house.base}/connections/connect/tracker")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await page.get_by_role("link", name="My connections").click()
    await page.get_by_role("button", name="Disconnect").click()
    await page.get_by_role("heading", name="Issue <tracker> is disconnected").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="You are signed out").wait_for()

    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
async def test_every_page_is_named_structured_and_fits(
    chromium: Browser, house: House, width: int, scheme: Any
) -> None:
    """WCAG 1.4.3, 1.4.10, 2.4.2, 2.5.8, 3.1.1, 4.1.2."""
    page, complaints = await watched(chromium, viewport={"width": width, "height": 800}, color_scheme=scheme)
    shots = os.environ.get("SCREENSHOTS")
    found = {}

    async def look(name: str) -> None:
        await page.get_by_role("heading", name=name, exact=True).wait_for()
        found[name] = await page.evaluate(AUDIT) | {"faint": await page.evaluate(FAINT)}
        if shots:
            await page.screenshot(path=f"{shots}/{len(found)}-{width}-{scheme}.png", full_page=True)

    await sign_in(page, f"{house.base}/connections/connect/weather")
    await look("Connect Weather")
    await page.get_by_label("API key").fill("sk-1")
    await page.keyboard.press("Enter")
    await look("Weather is connected")
    await page.goto(f"{house.base}/connections/connect/tracker")
    await look("Connect Issue <tracker>")
    house.provider.refuses = "access_denied"
    await page.get_by_role("button", name="Connect", exact=True).click()
    await look("Issue <tracker> is not connected")
    house.provider.refuses = ""
    await page.goto(f"{house.base}/connections/connect/tracker")
    await page.get_by_role("button", name="Connect", exact=True).click()
    await page.get_by_role("link", name="My connections").click()
    await look("My connections")
    await page.goto(house.link("bob"))
    await look("This link is for somebody else")

    assert found == dict.fromkeys(found, GOOD | {"faint": []})
    assert [text for text in complaints if "status of 40" not in text] == []


FAINT = """() => {
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const lit = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const style = getComputedStyle(e), colour = parts(style.backgroundColor);
      if (style.backgroundImage !== "none") return null;
      if (colour[3] === undefined || colour[3] === 1) return colour;
    }
    return null;
  };
  const texts = [...document.querySelectorAll("main *")].filter((e) =>
    e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
  return texts.filter((e) => {
    const back = behind(e);
    if (!back) return false;
    const [one, two] = [lit(parts(getComputedStyle(e).color)), lit(back)].sort((a, b) => b - a);
    return (one + 0.05) / (two + 0.05) < 4.5;
  }).map((e) => e.outerHTML);
}"""
"""Texts with less contrast than 4.5:1 to what is behind them."""
