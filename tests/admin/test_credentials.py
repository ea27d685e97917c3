from __future__ import annotations

from typing import Any

import httpx2
import pytest

from switchboard.outbound_auth.connectables import Connectable, CredentialField
from switchboard.vault import Cipher, RecordKey
from tests.admin.conftest import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = "v4lue-nobody-may-see"
PATH = "/plugins/everything/credentials/api_key"
ALICE = '["https://issuer", "alice"]'


async def listed(client: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/credentials", params=query)
    assert answer.status_code == 200, answer.text
    assert VALUE not in answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_shared_value_is_put_and_used_by_every_worker_and_shown_to_nobody(fleet: Fleet) -> None:
    put = await fleet.a.put(PATH, json={"value": VALUE})
    assert put.status_code == 200, put.text
    assert VALUE not in put.text
    key = RecordKey("plugin:everything", "api_key")
    used = await fleet.workers[1].app.rooms.credentials.vault.get(key, purpose="a test")
    assert used is not None
    assert used.value == {"value": VALUE}
    (seen,) = await listed(fleet.b, plugin="everything")
    assert (seen["name"], seen["kind"], seen["shared"], seen["state"]) == ("api_key", "value", True, "ok")
    assert seen["last_used"] is not None
    entries = (await fleet.b.get("/audit", params={"event": "credential.written"})).json()["items"]
    assert [(each["what"], each["more"]["why"]) for each in entries] == [
        ("plugin:everything/api_key", "administration")
    ]


async def test_what_another_has_put_meanwhile_is_not_replaced(fleet: Fleet) -> None:
    first = (await fleet.a.put(PATH, json={"value": VALUE})).headers["etag"]
    blind = await fleet.b.put(PATH, json={"value": "b"})
    assert (blind.status_code, blind.headers["etag"]) == (428, first)
    second = await fleet.b.put(PATH, json={"value": "b"}, headers={"If-Match": first})
    assert second.status_code == 200
    late = await fleet.a.put(PATH, json={"value": "c"}, headers={"If-Match": first})
    assert (late.status_code, late.headers["etag"]) == (412, second.headers["etag"])


async def test_a_record_is_deleted_for_every_worker_at_once(fleet: Fleet) -> None:
    made = (await fleet.a.put(PATH, json={"value": VALUE})).json()["id"]
    assert (await fleet.b.post(f"/credentials/{made}/check")).json() == {"ok": True, "reason": ""}
    assert (await fleet.b.delete(f"/credentials/{made}")).status_code == 204
    assert (await fleet.a.get(f"/credentials/{made}")).status_code == 404
    assert await listed(fleet.a) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/plugins/none/credentials/key", 404),
        ("/plugins/everything/credentials/oauth", 422),
        ("/plugins/everything/credentials/client:1", 422),
        ("/plugins/everything/credentials/a%20b", 422),
    ],
)
async def test_a_value_is_refused_where_no_plugin_would_look_for_it(
    shared_fleet: Fleet, path: str, status: int
) -> None:
    answer = await shared_fleet.a.put(path, json={"value": VALUE})
    assert answer.status_code == status
    assert VALUE not in answer.text


async def test_what_was_encrypted_with_a_key_that_is_gone_is_told_apart(fleet: Fleet) -> None:
    vault = fleet.workers[0].app.rooms.credentials.vault
    key = RecordKey("plugin:everything", "old")
    foreign = Cipher(["another key that is long enough to be one"]).seal(key, {"value": VALUE}, "1", 0)
    await vault.store.write(key, foreign, replacing="")
    (seen,) = await listed(fleet.b, plugin="everything")
    assert seen["state"] == "undecryptable"
    checked = (await fleet.b.post(f"/credentials/{seen['id']}/check")).json()
    assert checked["ok"] is False
    assert "VAULT_KEYS" in checked["reason"]


async def test_a_persons_connection_is_seen_and_ended_by_an_operator(fleet: Fleet) -> None:
    weather = Connectable("weather", "plugin:weather", "Weather", fields=(CredentialField("key"),))
    for worker in fleet.workers:
        worker.app.rooms.credentials.connectables.put(weather)
    vault = fleet.workers[0].app.rooms.credentials.vault
    await vault.put(RecordKey("plugin:weather", "key", ALICE), {"value": VALUE}, purpose="a test")
    page = await fleet.b.get("/connections", params={"subject": "alice"})
    assert VALUE not in page.text
    (seen,) = page.json()["items"]
    assert (seen["to"], seen["subject"], seen["state"], seen["values"]) == ("weather", "alice", "connected", ["key"])
    assert (await fleet.b.get("/connections", params={"subject": "bob"})).json()["items"] == []
    ended = await fleet.b.delete(f"/connections/{seen['id']}")
    assert (ended.status_code, ended.json()) == (200, {"note": ""})
    assert await vault.get(RecordKey("plugin:weather", "key", ALICE), purpose="a test") is None
    assert (await fleet.a.post(f"/connections/{seen['id']}/check")).status_code == 404
    (entry,) = (await fleet.a.get("/audit", params={"event": "connection.ended"})).json()["items"]
    assert (entry["what"], entry["more"]["owner"]) == ("plugin:weather", ALICE)
    (deleted,) = (await fleet.a.get("/audit", params={"event": "credential.deleted"})).json()["items"]
    assert deleted["more"] == {"why": "ended by an operator", "owner": ALICE}
