"""Several servers or sessions at once: chosen, confirmed, and told what became of each, as the other worker has it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.admin.conftest import Fleet
from tests.console.conftest import at
from tools.messages import ACCEPT, INITIALIZE, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def added(fleet: Fleet, *names: str) -> None:
    for name in names:
        put = await fleet.b.put(f"/servers/{name}", json={"command": "cat", "enabled": False})
        assert put.status_code == 200, put.text


async def removed(fleet: Fleet, name: str) -> None:
    tag = (await fleet.b.get(f"/servers/{name}")).headers["etag"]
    assert (await fleet.b.delete(f"/servers/{name}", headers={"If-Match": tag})).status_code == 204


async def enabled(fleet: Fleet) -> dict[str, bool]:
    return {each["name"]: each["enabled"] for each in (await fleet.b.get("/servers")).json()["items"]}


async def revision(fleet: Fleet) -> int:
    found: int = (await fleet.b.get("/configuration")).json()["revision"]
    return found


async def test_several_servers_are_enabled_in_one_revision_and_each_is_told_how_it_went(
    page: Page, fleet: Fleet
) -> None:
    await added(fleet, "one", "two", "three")
    await at(page, "servers")
    group = page.get_by_role("group", name="Several servers")
    await expect(group.get_by_role("button", name="Enable")).to_be_disabled()
    for name in ("one", "two", "three"):
        await page.get_by_role("checkbox", name=f"Choose {name}").check()
    await page.get_by_label("Search").fill("off")  # what is chosen stays so, and is named before anything is done
    await expect(group.get_by_role("status")).to_have_text("3 servers chosen")
    await group.get_by_role("button", name="Enable").click()
    dialog = page.get_by_role("dialog", name="Enable 3 servers?")
    await expect(dialog.get_by_role("listitem")).to_have_text(["one", "two", "three"])
    await dialog.get_by_role("button", name="Cancel").click()
    assert await enabled(fleet) == {"off": False, "one": False, "three": False, "two": False}

    await group.get_by_role("button", name="Enable").click()
    await removed(fleet, "two")
    before = await revision(fleet)
    await dialog.get_by_role("button", name="Enable").click()
    await expect(dialog.get_by_role("status")).to_have_text("2 of 3 done, 1 failed")
    await expect(dialog.get_by_role("listitem").nth(1)).to_contain_text("there is no server 'two'")
    assert await enabled(fleet) == {"off": False, "one": True, "three": True}
    assert await revision(fleet) == before + 1
    await dialog.get_by_role("button", name="Close").click()
    await expect(group.get_by_role("status")).to_have_text("")

    audited = (await fleet.b.get("/audit?event=server.enabled")).json()["items"]
    assert [each["what"] for each in audited] == ["three", "one"]
    for name in ("one", "three"):
        await removed(fleet, name)


async def test_one_of_several_restarts_that_fails_is_told_why_and_tried_again(page: Page, fleet: Fleet) -> None:
    await added(fleet, "up", "down")
    await fleet.b.post("/servers/up/enable")
    await at(page, "servers")
    for name in ("up", "down"):
        await page.get_by_role("checkbox", name=f"Choose {name}").check()
    group = page.get_by_role("group", name="Several servers")
    await group.get_by_role("button", name="Restart").click()
    dialog = page.get_by_role("dialog", name="Restart 2 servers?")
    await dialog.get_by_role("button", name="Restart").click()
    await expect(dialog.get_by_role("listitem").filter(has_text="down")).to_contain_text("is it enabled?")
    await fleet.b.post("/servers/down/enable")
    await dialog.get_by_role("button", name="Try the other 1 again").click()
    await expect(dialog.get_by_role("status")).to_have_text("2 of 2 done")
    await page.keyboard.press("Escape")

    audited = (await fleet.b.get("/audit?event=server.restarted")).json()["items"]
    assert sorted((each["what"], each["outcome"]) for each in audited) == [
        ("down", "nowhere"),
        ("down", "ok"),
        ("up", "ok"),
    ]
    for name in ("up", "down"):
        await removed(fleet, name)


async def test_several_sessions_of_another_worker_are_ended_and_one_that_ended_meanwhile_is_no_failure(
    page: Page, fleet: Fleet
) -> None:
    url, sids = fleet.workers[1].url, []
    for _ in range(3):
        begun = await fleet.b.post(url, json=INITIALIZE, headers=ACCEPT)
        sids.append(begun.headers["mcp-session-id"])
    await at(page, "sessions")
    await page.get_by_role("button", name="Choose all shown").click()
    await page.get_by_role("checkbox", name=f"Choose session {sids[0][:12]}").uncheck()
    await fleet.b.delete(f"/sessions/{sids[1]}")
    group = page.get_by_role("group", name="Several sessions")
    await group.get_by_role("button", name="End").click()
    dialog = page.get_by_role("dialog", name="End 2 sessions?")
    await dialog.get_by_role("button", name="End them").click()
    await expect(dialog.get_by_role("status")).to_have_text("2 of 2 done")
    await dialog.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("1 of 1 session")).to_be_visible()

    async def status(sid: str) -> int:
        headers = {**ACCEPT, "mcp-session-id": sid, "mcp-protocol-version": "2025-11-25"}
        return (await fleet.b.post(url, json=request("ping"), headers=headers)).status_code

    assert [await status(sid) for sid in sids] == [200, 404, 404]


async def test_who_changes_a_preset_second_is_shown_what_the_first_made_of_it(page: Page, fleet: Fleet) -> None:
    async def theirs(patch: dict[str, Any]) -> None:
        tag = (await fleet.b.get("/configuration")).headers["etag"]
        done = await fleet.b.patch("/configuration", json=patch, headers={"If-Match": tag})
        assert done.status_code == 200, done.text

    await at(page, "presets")
    await page.get_by_role("button", name="Change few").click()
    await theirs({"mcpServers": {"off": {"description": "elsewhere"}}})
    await page.get_by_role("textbox", name="Description").fill("Mine")
    await page.get_by_role("button", name="Save").click()  # what somebody changed elsewhere is in nobody's way
    await expect(page.get_by_text("few is changed on every worker")).to_be_visible()

    await page.get_by_role("button", name="Change few").click()
    await theirs({"presets": {"few": {"description": "Theirs"}}})
    await page.get_by_role("textbox", name=re.compile("^Tags")).fill("mine")
    await page.get_by_role("button", name="Save").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("few was changed meanwhile. It is now:")
    await expect(alert).to_contain_text('"description": "Theirs"')
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    now = (await fleet.b.get("/configuration")).json()["document"]["presets"]["few"]
    assert now == {"description": "Mine", "tags": "mine"}

    await page.get_by_role("button", name="Remove few").click()
    await theirs({"presets": {"few": {"tags": "others"}}})
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(alert).to_contain_text('"tags": "others"')
    await page.get_by_role("button", name="Remove", exact=True).click()
    await expect(page.get_by_text("few is removed")).to_be_visible()
    assert "few" not in (await fleet.b.get("/configuration")).json()["document"].get("presets", {})
