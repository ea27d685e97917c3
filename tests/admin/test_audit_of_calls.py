"""Calls of tools, reads and prompts in the audit log, whichever way a request takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from switchboard.identity import ANONYMOUS
from tests.admin.conftest import api
from tests.sessions.conftest import Worker, serving
from tools.messages import call, modern, modern_headers, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

ME = ANONYMOUS.person


async def ask(worker: Worker, message: dict[str, Any], **headers: str) -> Any:
    sent = modern(message)
    async with api(worker) as http:
        return (await http.post(worker.url, json=sent, headers={**modern_headers(sent), **headers})).json()


async def noted(worker: Worker, **query: Any) -> list[dict[str, Any]]:
    await worker.app.rooms.catalog.calls.flush()  # type: ignore[attr-defined]  # the one that writes
    async with api(worker) as http:
        answer = await http.get("/audit", params={"log": "calls", **query})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return list(reversed(items))


@pytest.mark.parametrize("way", ["on", "off"])
async def test_every_call_read_and_prompt_is_noted_with_how_it_ended(redis_url: str, tmp_path: Path, way: str) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text("plugins: {everything: {enabled: true, audit: all}}\n")
    async with serving(redis_url, config_file=file, fast_path=way) as worker:
        await ask(worker, call("echo", {"message": "s3cr3t"}), **{"x-request-id": "0123456789abcdef"})
        await ask(worker, call("echo", {"nothing": 1}))
        uri = (await ask(worker, request("resources/list")))["result"]["resources"][0]["uri"]
        await ask(worker, request("resources/read", params={"uri": uri}))
        prompt = (await ask(worker, request("prompts/list")))["result"]["prompts"][0]["name"]
        await ask(worker, request("prompts/get", params={"name": prompt}))
        found = await noted(worker)
        assert [(each["event"], each["what"], each["outcome"]) for each in found] == [
            ("tool.called", "echo", "ok"),
            ("tool.called", "echo", "tool error"),
            ("resource.read", uri, "ok"),
            ("prompt.got", prompt, "ok"),
        ]
        first = found[0]
        assert (first["who"], first["more"]["backend"]) == (ME, "everything")
        assert {"duration_ms", "request", "digest"} <= first["more"].keys()
        assert "s3cr3t" not in json.dumps(found)
        assert [each["event"] for each in await noted(worker, outcome="!ok")] == ["tool.called"]
        assert await noted(worker, backend="other") == []
        async with api(worker) as http:
            assert (await http.get("/audit/check")).json() == {"entries": 4, "faults": []}
            exported = await http.get("/audit/export", params={"log": "calls"})
        assert len(exported.text.splitlines()) == 4


async def test_a_provider_is_audited_from_the_change_of_its_section_on(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text("plugins: {everything: {enabled: true}}\n")
    async with serving(redis_url, config_file=file) as worker, api(worker) as http:
        await ask(worker, call("echo", {"message": "a"}))
        assert await noted(worker) == [], "off, unless something says otherwise"
        rows = (await http.get("/configuration")).headers["etag"]
        changed = await http.patch(
            "/configuration", json={"plugins": {"everything": {"audit": "all"}}}, headers={"If-Match": rows}
        )
        assert changed.status_code == 200, changed.text
        rooms = worker.app.rooms
        await rooms.servers.apply(rooms.watched.under(await _overlay(worker)).configuration)
        await ask(worker, call("echo", {"message": "b"}))
        assert [each["what"] for each in await noted(worker)] == ["echo"]


async def _overlay(worker: Worker) -> Any:
    from switchboard.config.overlay import Overlay

    return await Overlay(worker.app.rooms.state).read()
