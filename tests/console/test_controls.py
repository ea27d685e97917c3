"""Each control of the console's pages, worked in Chromium at one worker; its effect is seen at the other."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, expect

from switchboard.outbound_auth.connectables import Connectable, CredentialField
from switchboard.tasks.record import Record, now
from switchboard.vault import RecordKey
from tests.admin.conftest import Fleet
from tests.console.conftest import at, opening_page

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE: Final = "v4lue-nobody-may-see"
ALICE: Final = '["https://issuer", "alice"]'
SAYS: Final = [sys.executable, "-c", "import sys; print('a last word', file=sys.stderr); sys.stdin.read()"]


async def pressed(page: Page, name: str | re.Pattern[str]) -> None:
    await page.get_by_role("button", name=name, exact=isinstance(name, str)).click()


async def test_a_server_is_restarted_and_its_last_words_are_read_live(page: Page, fleet: Fleet) -> None:
    put = await fleet.b.put("/servers/speaker", json={"command": SAYS[0], "args": SAYS[1:]})
    assert put.status_code == 200, put.text
    await at(page, "servers")
    await pressed(page, "Logs of speaker")
    # Whichever worker asks the server first what it offers has started its child; the other one takes that over.
    words = page.get_by_label(re.compile("^Of speaker on ")).filter(has_text="a last word")
    await expect(words.first).to_be_visible()
    await page.keyboard.press("Escape")
    await pressed(page, "Restart speaker")
    await expect(page.get_by_text("speaker is started anew on every worker")).to_be_visible()
    (entry,) = (await fleet.b.get("/audit?event=server.restarted")).json()["items"]

    assert entry["what"] == "speaker"
    gone = await fleet.b.delete("/servers/speaker", headers={"If-Match": put.headers["etag"]})
    assert gone.status_code == 204


async def test_a_value_is_set_replaced_and_deleted_and_shown_on_no_page(page: Page, fleet: Fleet) -> None:
    vault = fleet.workers[1].app.rooms.credentials.vault
    key = RecordKey("plugin:everything", "api_key")

    async def kept() -> Any:
        found = await vault.get(key, purpose="a test")
        return found and found.value["value"]

    await at(page, "credentials")
    await pressed(page, "Set a value")
    await page.get_by_role("dialog").get_by_label("Name").fill("api_key")
    await page.get_by_label("Value", exact=True).fill(VALUE)
    await pressed(page, "Save")
    await expect(page.get_by_text("api_key of everything is kept for every worker")).to_be_visible()
    first = await kept()
    await pressed(page, "Replace api_key of plugin everything")
    await page.get_by_label("Value", exact=True).fill("another")
    await pressed(page, "Save")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    second = await kept()
    await pressed(page, "Check api_key of plugin everything")
    await expect(page.get_by_text("api_key of plugin everything can be read")).to_be_visible()
    assert VALUE not in await page.content()
    assert "another" not in await page.content()

    await pressed(page, "Delete api_key of plugin everything")
    await pressed(page, "Delete")
    await expect(page.get_by_text("The vault holds nothing yet.")).to_be_visible()
    assert (first, second, await kept()) == (VALUE, "another", None)


async def test_a_value_that_somebody_replaced_meanwhile_is_not_lost_unseen(page: Page, fleet: Fleet) -> None:
    path = "/plugins/everything/credentials/shared"
    tag = (await fleet.b.put(path, json={"value": "a"})).headers["etag"]
    await at(page, "credentials")
    await pressed(page, "Replace shared of plugin everything")
    await expect(page.get_by_label("Value", exact=True)).to_be_focused()
    assert (await fleet.b.put(path, json={"value": "b"}, headers={"If-Match": tag})).status_code == 200
    await page.get_by_label("Value", exact=True).fill("c")
    await pressed(page, "Save")

    await expect(page.get_by_role("alert")).to_contain_text("Somebody replaced the value meanwhile")


async def test_a_person_is_disconnected_by_an_operator(page: Page, fleet: Fleet) -> None:
    weather = Connectable("weather", "plugin:weather", "Weather", fields=(CredentialField("key"),))
    for worker in fleet.workers:
        worker.app.rooms.credentials.connectables.put(weather)
    vault, key = fleet.workers[1].app.rooms.credentials.vault, RecordKey("plugin:weather", "key", ALICE)
    await vault.put(key, {"value": VALUE}, purpose="a test")
    await at(page, "credentials")
    await pressed(page, "Check alice at weather")
    await expect(page.get_by_text("alice at weather: connected")).to_be_visible()
    assert VALUE not in await page.content()
    await pressed(page, "Disconnect alice from weather")
    await pressed(page, "Disconnect")
    await expect(page.get_by_text("alice is disconnected from weather")).to_be_visible()

    assert await vault.get(key, purpose="a test") is None


async def test_a_task_of_another_worker_is_cancelled(page: Page, fleet: Fleet) -> None:
    store = fleet.workers[1].app.rooms.tasks.store
    owner, id = json.dumps(["https://issuer", "alice", "client"]), "a-task-of-worker-two"
    known: dict[str, Any] = {"owner": owner, "worker": fleet.id(1), "status": "working", "ttl_ms": 60_000}
    await store.create(Record(id=id, created=now(), updated=now(), tool="compute", **known))
    await at(page, "tasks")
    await expect(page.get_by_role("row", name="compute")).to_contain_text(fleet.id(1))
    await page.get_by_label("Status").select_option("completed")
    await expect(page.get_by_text("No task is like that now.")).to_be_visible()
    await page.get_by_label("Status").select_option("working")
    await pressed(page, f"Cancel task {id[:12]}")
    await pressed(page, "Cancel it")
    await expect(page.get_by_text("The task is cancelled")).to_be_visible()

    assert (await fleet.b.get(f"/tasks/{id}")).json()["status"] == "cancelled"


async def test_a_tool_says_which_presets_show_it_and_to_whom_it_is_offered(page: Page) -> None:
    await at(page, "configuration")
    patch = {"presets": {"sums": {"allow": ["add"]}, "rest": {"deny": ["add"]}}}
    await page.get_by_label("A merge patch").fill(json.dumps(patch))
    await expect(page.get_by_text("This could come into force.")).to_be_visible()
    await pressed(page, "Change")
    await expect(page.get_by_text("The change is in force on every worker")).to_be_visible()
    await at(page, "tools")
    await pressed(page, "Try add")

    await expect(page.locator("#offered")).to_contain_text("Offered to every token with mcp:tools")
    await expect(page.locator("#offered").get_by_role("link")).to_have_text(["sums"])


async def test_who_changes_the_configuration_second_keeps_what_was_written_and_sees_the_new_one(
    page: Page, fleet: Fleet
) -> None:
    await at(page, "configuration")
    tag = (await fleet.b.get("/configuration")).headers["etag"]
    other = {"mcpServers": {"off": {"description": "by the first"}}}
    assert (await fleet.b.patch("/configuration", json=other, headers={"If-Match": tag})).status_code == 200
    await page.get_by_label("A merge patch").fill('{"mcpServers": {"off": {"tags": ["late"]}}}')
    await pressed(page, "Change")

    await expect(page.get_by_role("status").filter(has_text="somebody changed the configuration")).to_be_visible()
    await expect(page.locator("#document")).to_contain_text("by the first")
    await expect(page.get_by_label("A merge patch")).to_have_value(re.compile("late"))


async def test_the_audit_log_is_filtered_checked_and_exported(page: Page, fleet: Fleet) -> None:
    await fleet.b.post("/servers/off/enable")
    await fleet.b.post("/servers/off/disable")
    await at(page, "audit")
    await page.get_by_label("Event").fill("server.disabled")
    await expect(page.get_by_role("row", name=re.compile("server.disabled")).first).to_be_visible()
    await expect(page.get_by_role("row", name=re.compile("server.enabled"))).to_have_count(0)
    await pressed(page, "Check the log")
    await expect(page.get_by_text(re.compile("All .* entries are as they were written"))).to_be_visible()
    async with page.expect_download() as begun:
        await pressed(page, "Export")
    file = await (await begun.value).path()
    lines = [json.loads(line) for line in file.read_text().splitlines()]

    assert {each["event"] for each in lines} == {"server.disabled"}


async def test_a_page_of_a_worker_whose_state_is_away_says_so_and_asks_again(chromium: Browser, fleet: Fleet) -> None:
    async with opening_page(chromium, fleet.workers[0].port) as page:
        await page.route("**/admin/api/servers*", lambda route: route.abort())
        await page.goto("servers")
        await expect(page.get_by_role("alert")).to_have_text("The server cannot be reached. Try again.")
        await page.unroute("**/admin/api/servers*")
        await pressed(page, "Try again")

        await expect(page.get_by_role("button", name="Change off")).to_be_visible()
