"""What a page of the API takes: commands of Redis, counted, and bytes; neither grows with what is on other pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from switchboard.admin.paging import LARGEST
from switchboard.identity import Principal
from switchboard.vault import RecordKey
from tests.admin.conftest import Fleet
from tests.admin.test_fleet import initialized

pytestmark = pytest.mark.asyncio(loop_scope="module")

Commands = Callable[[], Any]


async def sessions_of_an_earlier_version(fleet: Fleet, count: int, said: str = "") -> list[str]:
    """Sessions that did not put themselves into the index."""
    state = fleet.workers[0].app.rooms.state
    sids = [f"{number:048x}" for number in range(count)]
    params = json.dumps({"protocolVersion": "2025-11-25", "clientInfo": {"name": said, "version": "1"}})
    fields: dict[Any, Any] = {"v": "1", "owner": '["", "anonymous", ""]', "protocol": "2025-11-25", "params": params}
    async with state.redis.pipeline(transaction=False) as pipe:
        for sid in sids:
            pipe.hset(state.keys.session(sid), mapping=fields)
            pipe.expire(state.keys.session(sid), 600)
        await pipe.execute()
    return sids


async def test_the_keys_are_looked_through_once_and_not_for_each_page_of_sessions(
    fleet: Fleet, commands: Commands
) -> None:
    sids = await sessions_of_an_earlier_version(fleet, 2_500)
    async with commands() as first:
        page = (await fleet.a.get("/sessions", params={"limit": 50})).json()
    assert (page["total"], [each["id"] for each in page["items"]]) == (2_500, sids[:50])
    assert "SCAN" in first
    async with commands() as second:
        page = (await fleet.b.get("/sessions", params={"limit": 50, "cursor": page["next_cursor"]})).json()
    assert [each["id"] for each in page["items"]] == sids[50:100]
    counted = Counter(second)
    assert "SCAN" not in counted
    assert (counted["HMGET"], counted["PTTL"], counted["ZRANGEBYLEX"], counted["ZCARD"]) == (50, 50, 1, 1)


async def test_sessions_come_and_go_in_the_index_on_every_worker_and_those_that_ended_by_themselves_leave_it(
    fleet: Fleet,
) -> None:
    state = fleet.workers[0].app.rooms.state
    assert (await fleet.b.get("/sessions")).json()["total"] == 0
    opened = sorted([await initialized(fleet) for _ in range(3)])
    assert [each["id"] for each in (await fleet.b.get("/sessions")).json()["items"]] == opened
    assert (await fleet.a.delete(f"/sessions/{opened[0]}")).status_code == 204
    await state.redis.delete(state.keys.session(opened[1]))
    page = (await fleet.b.get("/sessions")).json()
    assert (page["total"], [each["id"] for each in page["items"]]) == (1, opened[2:])
    assert await state.redis.zrange(state.keys.session_index(), 0, -1) == opened[2:]
    await state.redis.zadd(state.keys.session_index(), {opened[1]: 0, "f" * 48: 0})
    await state.redis.delete(state.keys.session_index_whole())
    assert (await fleet.a.get("/sessions", params={"limit": 1})).json()["total"] == 1
    assert await state.redis.ttl(state.keys.session_index()) > 0


async def test_an_index_that_is_only_written_ends_by_itself(fleet: Fleet) -> None:
    state = fleet.workers[0].app.rooms.state
    await initialized(fleet)
    first = await state.redis.ttl(state.keys.session_index())
    await state.redis.expire(state.keys.session_index(), first - 100)
    await initialized(fleet)
    assert 0 < await state.redis.ttl(state.keys.session_index()) <= first - 100


async def test_a_page_of_credentials_asks_redis_for_many_people_at_once(fleet: Fleet, commands: Commands) -> None:
    vault = fleet.workers[0].app.rooms.credentials.vault
    people = 450
    for number in range(people):
        person = Principal("issuer", f"person {number:03d}", "").person
        await vault.put(RecordKey("plugin:everything", "key", person), {"value": "x"}, purpose="test", who="test")
    await fleet.b.get("/credentials", params={"limit": 1})  # loads the script
    async with commands() as seen:
        page = (await fleet.b.get("/credentials", params={"limit": 20, "plugin": "everything"})).json()
    assert (page["total"], len(page["items"])) == (people, 20)
    counted = Counter(seen)
    assert counted["EVALSHA"] == 3, counted
    assert counted["HGET"] == 20, counted
    async with commands() as one:
        found = (await fleet.a.get("/credentials", params={"subject": "person 449"})).json()
    assert [each["subject"] for each in found["items"]] == ["person 449"]
    assert Counter(one)["EVALSHA"] <= 4, "three parts of the people, and the gateway itself"


async def test_no_page_has_more_than_300_kilobytes_and_what_is_left_out_is_on_the_next(fleet: Fleet) -> None:
    sids = await sessions_of_an_earlier_version(fleet, 60, said="é" * 6_000)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = await fleet.a.get("/sessions", params={"limit": 500, "cursor": cursor})
        assert len(answer.content) < LARGEST + 1_000
        seen += [each["id"] for each in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
    assert seen == sids
