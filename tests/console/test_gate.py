"""Who gets through to the console, to the REST API behind it, and to the MCP endpoint behind it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.account.conftest import Browser, House, OpenHouse, opening

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "echo",
        "arguments": {"message": "hello"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
MODERN = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with tools."""
    written = tmp_path_factory.mktemp("console") / "switchboard.yaml"
    written.write_text("plugins: {everything: {enabled: true}}")
    return written


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(fleet_redis: str, file: Path) -> AsyncIterator[House]:
    """Two workers with our authorization server in each."""
    async with opening(fleet_redis, config_file=file) as opened:
        yield opened


def token_of(page: httpx2.Response) -> str:
    """What the scripts of a page prove themselves with."""
    found = re.search(r'data-csrf="([^"]+)"', page.text)
    assert found, page.text[:500]
    return found[1]


async def signed_in(admin: Browser) -> str:
    return token_of(await admin.get("/admin/servers"))


async def test_a_person_signs_in_and_sees_the_page_through_every_worker(house: House) -> None:
    async with house.browser("admin") as admin:
        page = await admin.get("/admin/servers")
        admin.worker = 1
        again = await admin.send("GET", "/admin/audit")

    assert (page.status_code, again.status_code) == (200, 200)
    assert "<title>Servers · Switchboard</title>" in page.text
    assert 'data-may-change="yes"' in page.text
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]


async def test_the_api_serves_the_person_of_the_browser_and_writes_down_who_it_was(house: House) -> None:
    async with house.browser("admin") as admin:
        proof = await signed_in(admin)
        admin.worker = 1
        looked = await admin.send("GET", "/admin/api/workers")
        changed = await admin.send(
            "PUT", "/admin/api/servers/cat", json={"command": "cat", "enabled": False}, headers={"X-CSRF-Token": proof}
        )
        admin.worker = 0
        seen = await admin.send("GET", "/admin/api/servers/cat")
        audit = await admin.send("GET", "/admin/api/audit?event=server.added")

    assert [each["state"] for each in looked.json()["items"]] == ["serving", "serving"]
    assert (changed.status_code, seen.status_code) == (200, 200), changed.text
    assert [(each["who"], each["what"]) for each in audit.json()["items"]] == [(house.person("admin"), "cat")]


@pytest.mark.parametrize("path", ["/admin/api/servers/other/enable", "/admin/mcp"])
async def test_a_request_without_the_proof_of_the_page_changes_nothing(house: House, path: str) -> None:
    async with house.browser("admin") as admin, house.browser("admin") as other:
        await signed_in(admin)
        theirs = await signed_in(other)
        none = await admin.send("POST", path)
        foreign = await admin.send("POST", path, headers={"X-CSRF-Token": theirs})
        elsewhere = await admin.send(
            "POST", path, headers={"X-CSRF-Token": await signed_in(admin), "Origin": "https://evil.example"}
        )

    assert (none.status_code, foreign.status_code, elsewhere.status_code) == (403, 403, 403)
    assert none.json()["detail"].endswith("load it again")


async def test_nobody_gets_problem_details_from_the_api_and_is_sent_to_sign_in_by_a_page(house: House) -> None:
    async with house.browser("nobody") as nobody:
        api = await nobody.send("GET", "/admin/api/workers")
        events = await nobody.send("GET", "/admin/events")
        page = await nobody.send("GET", "/admin/fleet")

    assert (api.status_code, events.status_code) == (401, 401)
    assert api.headers["content-type"] == "application/problem+json"
    assert page.status_code == 303
    assert "scope=" in page.headers["location"]
    assert "admin" in page.headers["location"]


async def test_a_token_of_a_program_is_not_a_session(house: House, mcp_token: Any) -> None:
    token = await mcp_token(house, "admin", "mcp admin")
    async with house.browser("admin") as admin:
        answer = await admin.send("GET", "/admin/api/workers", headers={"Authorization": f"Bearer {token}"})
        direct = await admin.send("GET", "/api/workers", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, direct.status_code) == (401, 200)


async def test_a_person_without_the_permission_sees_no_page_and_gets_403_from_the_api(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get("/admin/fleet")
        api = await alice.send("GET", "/admin/api/workers")
        events = await alice.send("GET", "/admin/events")

    assert (page.status_code, api.status_code, events.status_code) == (403, 403, 403)
    assert "You may not look at the console" in page.text
    assert "/admin/sign-in" in page.text


async def test_a_tool_is_called_as_the_person_of_the_browser(house: House) -> None:
    async with house.browser("admin") as admin:
        proof = await signed_in(admin)
        admin.worker = 1
        answer = await admin.send("POST", "/admin/mcp", json=CALL, headers={**MODERN, "X-CSRF-Token": proof})

    assert answer.status_code == 200, answer.text
    assert "hello" in answer.json()["result"]["content"][0]["text"]


async def test_below_a_path_of_the_public_url_all_of_it_is_there(open_house: OpenHouse, file: Path) -> None:
    house = await open_house(1, "/tools", config_file=file)
    async with house.browser("admin") as admin:
        page = await admin.get("/tools/admin")
        proof = token_of(page)
        style = await admin.send("GET", "/tools/admin/static/console.css")
        workers = await admin.send("GET", "/tools/admin/api/workers")
        call = await admin.send("POST", "/tools/admin/mcp", json=CALL, headers={**MODERN, "X-CSRF-Token": proof})

    assert 'href="/tools/admin/static/console.css"' in page.text
    assert (style.status_code, workers.status_code, call.status_code) == (200, 200, 200)


@pytest.mark.parametrize("name", ["nothing.js", "..%2fconsole.py", "%2e%2e%2fconsole.py"])
async def test_only_files_of_the_console_are_served(house: House, name: str) -> None:
    async with house.browser() as somebody:
        answer = await somebody.send("GET", f"/admin/static/{name}")

    assert answer.status_code == 404


async def test_a_websocket_is_refused(house: House) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://localhost:{house.workers[0].port}/admin/api/workers")

    assert refused.value.response.status_code == 403
