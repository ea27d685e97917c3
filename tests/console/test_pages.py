"""The console's pages in Chromium: each control is worked as a person does, and its effect seen on the other worker."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.admin.conftest import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

NESTED: dict[str, Any] = {
    "type": "object",
    "required": ["who", "stops"],
    "properties": {
        "who": {"$ref": "#/$defs/Person"},
        "stops": {"type": "array", "minItems": 1, "items": {"enum": ["Rome", "Oslo"]}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "quick": {"type": "boolean"},
        "seats": {"type": "integer", "default": 2},
        "tree": {"$ref": "#/$defs/Tree"},
    },
    "$defs": {
        "Person": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        },
        "Tree": {"type": "object", "properties": {"below": {"$ref": "#/$defs/Tree"}}},
    },
}

SHOW_FORM = """async (schema) => {
  const { fields } = await import("/admin/static/forms.js");
  window.form = fields(schema);
  document.getElementById("page").replaceChildren(...window.form.elements);
}"""


async def test_a_server_is_switched_on_and_off_with_a_button(page: Page, fleet: Fleet) -> None:
    await page.goto("servers")
    await page.get_by_role("button", name="Enable off").click()
    await expect(page.get_by_text("off is switched on on every worker")).to_be_visible()
    on = (await fleet.b.get("/servers/off")).json()["enabled"]

    await page.get_by_role("button", name="Disable off").click()
    await expect(page.get_by_text("off is switched off on every worker")).to_be_visible()
    assert (on, (await fleet.b.get("/servers/off")).json()["enabled"]) == (True, False)


async def test_a_preset_is_made_changed_and_removed(page: Page, fleet: Fleet) -> None:
    await page.goto("presets")
    await page.get_by_role("button", name="Make a preset").click()
    await page.get_by_role("textbox", name=re.compile("^Name")).fill("calm")
    await page.get_by_role("textbox", name=re.compile("^Allow")).fill("echo, add")
    await page.get_by_role("button", name="Make", exact=True).click()
    await expect(page.get_by_text("/mcp?preset=calm")).to_be_visible()
    made = (await fleet.b.get("/configuration")).json()["document"]["presets"]["calm"]

    await page.get_by_role("button", name="Change calm").click()
    await page.get_by_role("textbox", name=re.compile("^Allow")).fill("")
    await page.get_by_role("textbox", name=re.compile("^Tags")).fill("web")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("calm is changed on every worker")).to_be_visible()
    changed = (await fleet.b.get("/configuration")).json()["document"]["presets"]["calm"]

    await page.get_by_role("button", name="Remove calm").click()
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(page.get_by_text("calm is removed")).to_be_visible()
    left = (await fleet.b.get("/configuration")).json()["document"]["presets"]

    assert (made, changed, "calm" in left) == ({"allow": ["echo", "add"]}, {"tags": "web"}, False)


async def test_a_preset_that_could_not_be_is_refused_where_it_is_written(page: Page) -> None:
    await page.goto("presets")
    await page.get_by_role("button", name="Make a preset").click()
    await page.get_by_role("textbox", name=re.compile("^Name")).fill("wrong")
    await page.get_by_role("textbox", name=re.compile("^Tags")).fill("a b")
    await page.get_by_role("button", name="Make", exact=True).click()

    await expect(page.get_by_role("alert")).to_contain_text("must be tags separated by commas")


async def test_a_tool_is_tried_with_a_form_and_its_progress_shows(page: Page) -> None:
    await page.goto("tools")
    await page.get_by_label("Search").fill("longRunning")
    await page.get_by_role("button", name="Try longRunningOperation").click()
    await page.get_by_label("duration", exact=False).fill("0.2")
    await page.get_by_label("steps", exact=False).fill("2")
    await page.get_by_role("button", name="Call", exact=True).click()

    await expect(page.get_by_text("Step 2 of 2")).to_be_visible()
    await expect(page.get_by_text("Duration: 0.2 seconds, Steps: 2")).to_be_visible()


async def test_a_call_is_cancelled_in_the_page(page: Page) -> None:
    await page.goto("tools")
    await page.get_by_label("Search").fill("longRunning")
    await page.get_by_role("button", name="Try longRunningOperation").click()
    await page.get_by_label("duration", exact=False).fill("600")
    await page.get_by_role("button", name="Call", exact=True).click()
    await page.get_by_role("button", name="Cancel the call").click()

    await expect(page.get_by_role("alert")).to_have_text("Cancelled.")


async def test_what_a_tool_asks_is_answered_in_the_page(page: Page) -> None:
    await page.goto("tools")
    await page.get_by_label("Search").fill("multiRound")
    await page.get_by_role("button", name="Try multiRoundTrip").click()
    await page.get_by_role("button", name="Call", exact=True).click()
    asked = page.get_by_role("dialog", name="The tool asks")
    await expect(asked).to_contain_text("Where would you like to go?")
    await asked.get_by_label("City").select_option("Oslo")
    await asked.get_by_role("button", name="Answer").click()
    await expect(asked).to_contain_text("How many nights in Oslo?")
    await asked.get_by_label("Nights").fill("3")
    await asked.get_by_role("button", name="Answer").click()

    await expect(page.get_by_text("Done.")).to_be_visible()
    await expect(page.locator("pre", has_text=re.compile('"nights": ?3')).first).to_be_visible()


async def test_a_form_reads_nested_objects_lists_choices_and_what_is_left_empty(page: Page) -> None:
    await page.goto("presets")
    await expect(page.locator("#page")).to_have_attribute("aria-busy", "false")
    await page.evaluate(SHOW_FORM, NESTED)
    await page.get_by_label("name", exact=True).fill("Ada")
    await page.get_by_role("button", name="Add to stops").click()
    await page.get_by_role("combobox", name="stops 1").select_option("Rome")
    await page.get_by_role("combobox", name="stops 2").select_option("Oslo")
    await page.get_by_role("button", name="Add to notes").click()
    await page.get_by_role("textbox", name="notes 1").fill("gone")
    await page.get_by_role("button", name="Remove notes 1").click()

    assert await page.evaluate("window.form.read()") == {
        "who": {"name": "Ada"},
        "stops": ["Rome", "Oslo"],
        "seats": 2,
    }
