from __future__ import annotations

import asyncio

import httpx2
import pytest

from tests.admin.conftest import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until(fleet: Fleet, client: httpx2.AsyncClient, phase: str) -> None:
    """Wait until both workers tell of the plugin as being in a phase."""
    async with asyncio.timeout(120):
        while True:
            workers = (await client.get("/plugins/everything")).json()["workers"]
            if [workers.get(fleet.id(index), {}).get("phase") for index in (0, 1)] == [phase, phase]:
                return
            await asyncio.sleep(0.05)


async def test_a_plugin_is_switched_off_and_on_for_the_whole_fleet(fleet: Fleet) -> None:
    await until(fleet, fleet.b, "running")
    assert (await fleet.a.post("/plugins/everything/disable")).json()["enabled"] is False
    await until(fleet, fleet.b, "disabled")
    assert (await fleet.b.post("/plugins/everything/enable")).json()["enabled"] is True
    await until(fleet, fleet.a, "running")


async def test_a_configuration_that_the_plugin_refuses_changes_nothing(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/plugins/everything")).headers["etag"]
    refused = await fleet.a.put("/plugins/everything/config", json={"colour": 1}, headers={"If-Match": tag})
    assert refused.status_code == 422
    assert "colour" in refused.json()["detail"]
    assert (await fleet.b.get("/plugins/everything")).headers["etag"] == tag
    assert (await fleet.b.get("/configuration")).json()["revision"] == 0


async def test_a_configuration_of_a_plugin_is_replaced_by_whoever_saw_the_one_before(fleet: Fleet) -> None:
    path = "/plugins/everything/config"
    tag = (await fleet.a.get("/plugins/everything")).headers["etag"]
    assert (await fleet.a.put(path, json={})).status_code == 428
    changed = await fleet.a.put(path, json={"log_messages": 7}, headers={"If-Match": tag})
    assert changed.json()["row"]["config"] == {"log_messages": 7}
    late = await fleet.b.put(path, json={"log_messages": 8}, headers={"If-Match": tag})
    assert late.status_code == 412
    assert late.json()["current"]["config"] == {"log_messages": 7}


async def test_a_row_of_a_plugin_is_removed_and_what_there_is_no_plugin_of_is_not_found(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/plugins/everything")).headers["etag"]
    assert (await fleet.a.delete("/plugins/everything", headers={"If-Match": tag})).status_code == 204
    assert (await fleet.b.delete("/plugins/everything")).status_code == 409
    assert (await fleet.a.get("/plugins/none")).status_code == 404
