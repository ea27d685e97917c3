from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from switchboard.audit.entries import MAC
from switchboard.cli.login import LoginFailed, obtain_token
from tests.admin.conftest import FILE, Fleet, api
from tests.sessions.conftest import Worker, serving
from tools.fleet.children import free_port
from tools.messages import ACCEPT, INITIALIZE, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def initialized(fleet: Fleet) -> str:
    answer = await fleet.a.post(fleet.workers[0].url, json=INITIALIZE, headers=ACCEPT)
    return answer.headers["mcp-session-id"]


async def test_every_worker_is_shown_with_what_it_holds(shared_fleet: Fleet) -> None:
    found = {each["id"]: each for each in (await shared_fleet.a.get("/workers")).json()["items"]}
    assert sorted(found) == sorted((shared_fleet.id(0), shared_fleet.id(1)))
    assert {each["state"] for each in found.values()} == {"serving"}
    assert all(each["servers"] == {"off": "disabled"} and each["version"] for each in found.values())


async def test_a_worker_that_does_not_answer_shows_as_silent(fleet: Fleet) -> None:
    keys, redis = fleet.workers[0].app.rooms.state.keys, fleet.workers[0].app.rooms.state.redis
    await redis.hset(keys.worker("wdead0000"), mapping={"version": "0", "started": "1"})
    await redis.expire(keys.worker("wdead0000"), 20)  # else every later question to a fleet of this Redis waits for it
    found = {each["id"]: each for each in (await fleet.a.get("/workers")).json()["items"]}
    assert found["wdead0000"]["state"] == "silent"
    assert found[fleet.id(1)]["state"] == "serving"
    assert (await fleet.a.post("/workers/wdead0000/drain")).status_code == 503
    assert (await fleet.a.post("/workers/w00000000/drain")).status_code == 404


async def test_a_worker_is_drained_through_another(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("switchboard.app.os.kill", lambda _pid, number: left.append(number))
    answer = await fleet.a.post(f"/workers/{fleet.id(1)}/drain")
    assert answer.status_code == 202
    assert left == [signal.SIGTERM]
    fleet.workers[1].app.drain()
    told = {each["id"]: each["state"] for each in (await fleet.a.get("/workers")).json()["items"]}
    assert told == {fleet.id(0): "serving", fleet.id(1): "draining"}


async def test_sessions_are_listed_in_pages_and_ended_on_every_worker(shared_fleet: Fleet) -> None:
    sids = sorted([await initialized(shared_fleet) for _ in range(5)])
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await shared_fleet.b.get("/sessions", params={"limit": 2, "cursor": cursor})).json()
        assert page["total"] == 5
        seen += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [each["id"] for each in seen] == sids
    assert seen[0]["subject"] == "anonymous"
    assert seen[0]["protocol_version"] == INITIALIZE["params"]["protocolVersion"]
    assert (await shared_fleet.b.delete(f"/sessions/{sids[0]}")).status_code == 204
    again = await shared_fleet.a.post(
        shared_fleet.workers[0].url, json=request("ping"), headers={**ACCEPT, "mcp-session-id": sids[0]}
    )
    assert again.status_code == 404
    assert (await shared_fleet.b.delete(f"/sessions/{sids[0]}")).status_code == 404


async def test_tools_are_found_with_what_they_cost(shared_fleet: Fleet) -> None:
    page = (await shared_fleet.a.get("/tools", params={"search": "ECHO"})).json()
    assert [each["name"] for each in page["items"]] == ["echo"]
    one = (await shared_fleet.a.get("/tools/echo")).json()
    assert one["tokens"] == page["items"][0]["tokens"] > 0
    assert "message" in one["definition"]["inputSchema"]["properties"]
    assert (await shared_fleet.a.get("/tools/none")).status_code == 404
    assert (await shared_fleet.a.get("/tools", params={"cursor": "%%%"})).json()["mistakes"][0][
        "where"
    ] == "query.cursor"


async def test_presets_have_the_url_that_shows_them(shared_fleet: Fleet) -> None:
    (preset,) = (await shared_fleet.a.get("/presets")).json()["items"]
    assert preset["url"].endswith("/mcp?preset=few")


async def test_what_was_done_is_in_the_audit_log_and_what_was_changed_there_is_found(fleet: Fleet) -> None:
    await fleet.a.post("/servers/off/enable")
    await fleet.b.post("/servers/off/disable")
    await fleet.b.put("/servers/x", json={"colour": 1})
    for worker in fleet.workers:
        await worker.app.rooms.credentials.audit.flush()
    entries = (await fleet.a.get("/audit")).json()["items"]
    assert [each["event"] for each in entries] == ["server.added", "server.disabled", "server.enabled"]
    assert entries[1]["outcome"] == "ok"
    assert "mcpServers.x" in entries[0]["outcome"]
    first = (await fleet.a.get("/audit", params={"limit": 2})).json()
    rest = (await fleet.a.get("/audit", params={"limit": 2, "before": first["next_before"]})).json()
    assert [each["id"] for each in first["items"] + rest["items"]] == [each["id"] for each in entries]
    assert rest["next_before"] is None
    only = (await fleet.a.get("/audit", params={"event": "server.enabled"})).json()["items"]
    assert only == entries[2:]
    part = await fleet.a.get("/audit/export", params={"limit": 2})
    following: dict[str, str | int] = {"limit": 2, "before": part.headers["next-before"]}
    last = await fleet.b.get("/audit/export", params=following)
    exported = [json.loads(line)["id"] for line in (part.text + last.text).splitlines()]
    assert exported == [each["id"] for each in entries]
    assert "next-before" not in last.headers
    assert (await fleet.a.get("/audit/export", params={"format": "cef"})).text.count("CEF:0|Switchboard|") == 3
    assert (await fleet.a.get("/audit/check")).json() == {"entries": 3, "faults": []}
    state = fleet.workers[0].app.rooms.state
    newest: Any = await state.redis.xrevrange(state.keys.audit(), count=1)
    fields = newest[0][1]
    await state.redis.xadd(state.keys.audit(), {**fields, "who": "somebody else"})
    assert MAC in fields
    assert len((await fleet.a.get("/audit/check")).json()["faults"]) == 1


async def test_a_post_with_an_idempotency_key_is_done_once(fleet: Fleet) -> None:
    key = {"Idempotency-Key": "one"}
    first = await fleet.a.post("/servers/off/enable", headers=key)
    await fleet.a.post("/servers/off/disable")
    second = await fleet.b.post("/servers/off/enable", headers=key)
    assert (second.status_code, second.json()) == (200, first.json())
    assert (await fleet.b.get("/servers/off")).json()["enabled"] is False
    other = await fleet.b.post("/servers/off/disable", headers=key)
    assert other.status_code == 422
    assert (await fleet.b.post("/servers/off/disable", headers={"Idempotency-Key": "x" * 201})).status_code == 422


async def test_what_is_answered_again_has_the_headers_of_the_first_answer(fleet: Fleet) -> None:
    for path in ("/servers/off/enable", "/servers/off/enable/"):  # the second leads to the first
        first, second = [await fleet.a.post(path, headers={"Idempotency-Key": path}) for _ in range(2)]
        assert first.status_code == second.status_code < 400
        for name in ("etag", "location", "content-type"):
            assert second.headers.get(name) == first.headers.get(name)


async def test_a_key_cannot_be_looked_up_while_redis_is_away(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise redis.exceptions.ConnectionError("gone")

    monkeypatch.setattr(fleet.workers[0].app.rooms.state.redis, "set", away)
    refused = await fleet.a.post("/servers/off/enable", headers={"Idempotency-Key": "one"})
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert refused.headers["retry-after"]


async def test_no_entry_is_before_the_first_that_there_can_be(shared_fleet: Fleet) -> None:
    assert (await shared_fleet.a.get("/audit", params={"before": "0-0"})).status_code == 422
    assert (await shared_fleet.a.get("/audit", params={"before": "0-1"})).status_code == 200


async def test_a_kept_answer_is_for_those_who_may_still_ask(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text(FILE)
    async with signing_in(redis_url, config_file=file) as worker:
        reads, writes = await token(worker, "admin", "admin:read"), await token(worker, "admin", "admin")

        async def enabled(held: str, key: str) -> int:
            async with api(worker, headers={"Authorization": f"Bearer {held}", "Idempotency-Key": key}) as http:
                answer = await http.post("/servers/off/enable")
            assert answer.status_code == 200 or 'scope="admin"' in answer.headers["www-authenticate"]
            return answer.status_code

        # Refused for want of the scope, allowed once it is there, and not any more with a token that lacks it.
        assert [await enabled(each, "one") for each in (reads, reads, writes, writes, reads)] == [
            403,
            403,
            200,
            200,
            403,
        ]


async def test_the_reference_is_for_everybody_and_loads_nothing_from_elsewhere(shared_fleet: Fleet) -> None:
    page, document = await shared_fleet.a.get("/docs"), (await shared_fleet.a.get("/openapi.json")).json()
    assert page.headers["content-type"].startswith("text/html")
    assert "src=" not in page.text
    assert all(path in page.text for path in document["paths"])


@asynccontextmanager
async def signing_in(redis_url: str, **settings: Any) -> AsyncIterator[Worker]:
    """A worker with the authorization server in it."""
    port = free_port()
    given = {"auth_mode": "integrated", "base_uri": f"http://localhost:{port}", **settings}
    async with serving(redis_url, port, **given) as worker:
        yield worker


async def token(worker: Worker, user: str, scope: str) -> str:
    return await asyncio.to_thread(partial(obtain_token, worker.url, user=user, scope=scope))


async def test_a_token_needs_the_scope_of_operators(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text(FILE)
    async with signing_in(redis_url, config_file=file) as worker:
        reads = await token(worker, "admin", "admin:read")
        writes = await token(worker, "admin", "admin")
        neither = await token(worker, "alice", "mcp")

        async def status(method: str, path: str, held: str | None) -> int:
            headers = {} if held is None else {"Authorization": f"Bearer {held}"}
            async with api(worker, headers=headers) as http:
                return (await http.request(method, path)).status_code

        look, act = ("GET", "/workers"), ("POST", "/servers/off/disable")
        assert [await status(*look, held) for held in (None, neither, reads, writes)] == [401, 403, 200, 200]
        assert [await status(*act, held) for held in (None, neither, reads, writes)] == [401, 403, 403, 200]
        async with api(worker, headers={"Authorization": f"Bearer {reads}"}) as http:
            refused = await http.request(*act)
        assert 'scope="admin"' in refused.headers["www-authenticate"]
        async with api(worker) as http:
            nobody = await http.get("/workers")
        for answer in (refused, nobody):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
        assert "resource_metadata" in nobody.headers["www-authenticate"]


async def test_nobody_but_this_machine_is_an_operator_without_authorization(redis_url: str) -> None:
    public: dict[str, Any] = {"base_uri": "https://mcp.example.com", "allow_insecure_no_auth": True}
    async with serving(redis_url, allowed_hosts=("localhost:*",), **public) as worker, api(worker) as http:
        assert (await http.get("/workers")).status_code == 403


async def test_an_operators_scope_is_not_granted_for_the_asking(redis_url: str) -> None:
    async with signing_in(redis_url) as worker:
        with pytest.raises(LoginFailed):
            await token(worker, "alice", "admin:read")
