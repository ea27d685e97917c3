from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from switchboard.config.overlay import Overlay
from switchboard.errors import StateUnavailable
from tests.admin.conftest import Fleet, api
from tests.sessions.conftest import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


CAT = {"command": "cat", "enabled": False}


async def until_on(fleet: Fleet, client: httpx2.AsyncClient, name: str, phase: str | None) -> None:
    """Wait until both workers tell of a server as being in a phase, or not at all."""
    async with asyncio.timeout(120):
        while True:
            answer = await client.get(f"/servers/{name}")
            workers = answer.json().get("workers", {}) if answer.status_code == 200 else {}
            if [workers.get(fleet.id(index), {}).get("phase") for index in (0, 1)] == [phase, phase]:
                return
            await asyncio.sleep(0.05)


async def test_a_server_that_is_added_on_one_worker_is_there_on_all(fleet: Fleet) -> None:
    added = await fleet.a.put("/servers/new", json=CAT)
    assert added.status_code == 200, added.text
    await until_on(fleet, fleet.b, "new", "disabled")
    assert [each["name"] for each in (await fleet.b.get("/servers")).json()["items"]] == ["new", "off"]


async def test_a_server_is_switched_on_and_off_for_the_whole_fleet(fleet: Fleet) -> None:
    on = await fleet.a.post("/servers/off/enable")
    assert on.json()["enabled"] is True
    async with asyncio.timeout(120):
        while (await fleet.b.get("/servers/off")).json()["workers"][fleet.id(1)]["phase"] == "disabled":
            await asyncio.sleep(0.05)
    await fleet.b.post("/servers/off/disable")
    await until_on(fleet, fleet.a, "off", "disabled")


async def test_a_server_of_the_file_can_be_removed_and_comes_back_with_the_earlier_revision(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/servers/off")).headers["etag"]
    assert (await fleet.a.delete("/servers/off", headers={"If-Match": tag})).status_code == 204
    assert (await fleet.b.get("/servers/off")).status_code == 404
    restored = await fleet.b.post("/configuration/history/0/restore")
    assert restored.status_code == 200, restored.text
    await until_on(fleet, fleet.a, "off", "disabled")
    history = (await fleet.a.get("/configuration/history")).json()["items"]
    assert [each["revision"] for each in history] == [2, 1]
    assert [each["removed"] for each in history] == [{}, {"mcpServers": {"off": None}}]


async def test_a_secret_is_never_shown_and_its_stand_in_never_stored(fleet: Fleet) -> None:
    for path in ("/servers", "/servers/off", "/configuration"):
        answer = await fleet.a.get(path)
        assert "s3cr3t-value" not in answer.text
        assert "[hidden]" in answer.text
    shown = (await fleet.a.get("/servers/off")).json()["row"]
    tag = (await fleet.a.get("/servers/off")).headers["etag"]
    stored = await fleet.a.put("/servers/off", json=shown, headers={"If-Match": tag})
    assert stored.status_code == 422
    assert stored.json()["detail"].startswith("body.env.API_KEY is")
    await fleet.a.put("/servers/other", json={**CAT, "env": {"TOKEN": "an0ther-secret"}})
    assert "an0ther-secret" not in (await fleet.a.get("/configuration/history")).text


async def test_whoever_did_not_see_the_last_change_is_shown_it(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/servers/off")).headers["etag"]
    unseen = await fleet.a.put("/servers/off", json=CAT)
    assert (unseen.status_code, unseen.headers["etag"]) == (428, tag)
    first = await fleet.a.put("/servers/off", json={**CAT, "description": "mine"}, headers={"If-Match": tag})
    assert first.status_code == 200, first.text
    second = await fleet.b.put("/servers/off", json={**CAT, "description": "yours"}, headers={"If-Match": tag})
    assert second.status_code == 412
    assert second.json()["current"]["description"] == "mine"
    assert second.headers["etag"] == first.headers["etag"]


async def test_of_two_changes_at_once_one_is_refused(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/servers/off")).headers["etag"]

    async def change(client: httpx2.AsyncClient, text: str) -> int:
        row = {**CAT, "description": text}
        return (await client.put("/servers/off", json=row, headers={"If-Match": tag})).status_code

    codes = await asyncio.gather(*(change(client, f"{n}") for n, client in enumerate((fleet.a, fleet.b) * 3)))
    assert sorted(codes) == [200, *[412] * 5]


async def test_what_would_not_be_valid_is_refused_with_the_place_and_nothing_changes(shared_fleet: Fleet) -> None:
    wrong: list[tuple[str, Any, str]] = [
        ("/servers/new", {"command": "cat", "colour": 1}, "mcpServers.new.colour"),
        ("/servers/new", {}, "needs 'command'"),
        ("/servers/new", {"url": "http://elsewhere.example/mcp"}, "plain http"),
        ("/servers/everything", CAT, "a plugin and a server"),
    ]
    for path, row, says in wrong:
        answer = await shared_fleet.a.put(path, json=row)
        assert answer.status_code == 422, answer.text
        assert says in answer.json()["detail"]
    assert (await shared_fleet.a.get("/configuration")).json()["revision"] == 0


async def test_what_could_not_be_shown_again_is_not_stored(fleet: Fleet) -> None:
    sent = {"Content-Type": "application/json", "If-Match": (await fleet.a.get("/configuration")).headers["etag"]}
    deep = '{"a":' * 300 + "1" + "}" * 300
    for value in ('"\\ud800"', "NaN", "1e999", deep):
        row = f'{{"command": "cat", "enabled": false, "description": {value}}}'.encode()
        patch = b'{"mcpServers": {"odd": %b}}' % row
        answers = [
            await fleet.a.put("/servers/odd", content=row, headers={"Content-Type": "application/json"}),
            await fleet.a.patch("/configuration", content=patch, headers=sent),
            await fleet.a.post("/configuration/check", content=patch, headers=sent),
        ]
        assert [each.status_code for each in answers] == [400] * 3
        assert "JSON" in answers[0].json()["detail"]
    assert (await fleet.b.get("/servers")).status_code == 200
    assert (await fleet.b.get("/configuration")).json()["revision"] == 0


async def test_a_change_can_be_checked_before_it_is_made(shared_fleet: Fleet) -> None:
    good = await shared_fleet.a.post("/configuration/check", json={"mcpServers": {"new": CAT}})
    bad = await shared_fleet.a.post(
        "/configuration/check", json={"separator": "", "mcpServers": {"x": {"url": "ftp://a"}}}
    )
    assert good.json() == {"valid": True, "reasons": []}
    assert bad.json()["valid"] is False
    assert bad.json()["reasons"]
    assert (await shared_fleet.a.get("/configuration")).json()["revision"] == 0


async def test_the_configuration_is_changed_by_a_merge_patch(fleet: Fleet) -> None:
    tag = (await fleet.a.get("/configuration")).headers["etag"]
    patch = {"presets": {"more": {"tags": "more"}}}
    changed = await fleet.a.patch("/configuration", json=patch, headers={"If-Match": tag})
    assert changed.status_code == 200, changed.text
    assert changed.json()["overlay"] == patch
    async with asyncio.timeout(120):
        while [each["name"] for each in (await fleet.b.get("/presets")).json()["items"]] != ["few", "more"]:
            await asyncio.sleep(0.05)
    assert (await fleet.b.patch("/configuration", json={}, headers={"If-Match": tag})).status_code == 412


async def test_a_restart_that_reaches_nobody_says_so(shared_fleet: Fleet) -> None:
    answer = await shared_fleet.a.post("/servers/off/restart")
    assert answer.status_code == 409
    assert "is it enabled" in answer.json()["detail"]
    assert (await shared_fleet.a.post("/servers/none/restart")).status_code == 404


async def test_an_entity_tag_tells_nobody_whether_they_guessed_a_secret(fleet: Fleet) -> None:
    row = {**CAT, "env": {"PIN": "1234"}}
    tag = (await fleet.a.put("/servers/pinned", json=row)).headers["etag"]
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] not in tag


async def test_a_server_that_has_the_name_of_a_plugin_in_the_folder_is_refused(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(
        "from mcp.server.mcpserver import MCPServer\nfrom switchboard.plugins import Plugin\n"
        'plugin = Plugin("hello", "1", MCPServer("hello"))\n'
    )
    async with serving(redis_url, plugins_dir=tmp_path) as worker, api(worker) as http:
        refused = await http.put("/servers/hello", json=CAT)
        assert refused.status_code == 422
        assert "a plugin and a server" in refused.json()["detail"]


async def test_a_change_that_could_not_be_stored_is_not_in_the_audit_log_as_done(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **_options: object) -> None:
        raise StateUnavailable("Redis is away")

    monkeypatch.setattr(Overlay, "_replace", away)
    assert (await fleet.a.put("/servers/new", json=CAT)).status_code == 503
    await fleet.workers[0].app.rooms.credentials.audit.flush()
    (entry,) = (await fleet.a.get("/audit", params={"event": "server.added"})).json()["items"]
    assert entry["outcome"] == "Redis is away"
