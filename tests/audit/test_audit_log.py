"""The audit log: bounded, in order, and such that a missing or changed entry is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from switchboard.audit import RedisAuditLog
from switchboard.audit.entries import MAX_FIELD_BYTES, Chain, signing_key
from switchboard.audit.entries import faults as found_faults
from switchboard.state import State, open_state
from tools.fleet.redis_server import RedisServer

KEY, OTHER = "k" * 32, "o" * 32


@pytest.fixture(params=["memory://", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with open_state(url) as opened:
        yield opened


def writing(
    state: State, writer: str, *, keys: Sequence[str] = (KEY,), entries: int = 10_000, days: int = 30
) -> RedisAuditLog:
    return RedisAuditLog(state, keys, writer, entries=entries, days=days)


async def entries(state: State) -> list[tuple[str, dict[str, str]]]:
    found: Any = await state.redis.xrange(state.keys.audit())
    return [(id_, entry) for id_, entry in found]


async def faults(state: State, *keys: str) -> list[str]:
    return list(found_faults(await entries(state), [signing_key(key) for key in keys or (KEY,)]))


async def note(audit: RedisAuditLog, *names: str) -> None:
    for name in names:
        audit.record("credential.read", who="alice", what=name, outcome="ok", why="a call")
    await audit.flush()


async def test_entries_say_who_did_what_and_are_in_order(state: State) -> None:
    audit = writing(state, "w1")
    await note(audit, "a", "b", "c")

    found = [entry for _id, entry in await entries(state)]
    assert [entry["what"] for entry in found] == ["a", "b", "c"]
    assert {name: found[0][name] for name in ("event", "who", "outcome", "why")} == {
        "event": "credential.read",
        "who": "alice",
        "outcome": "ok",
        "why": "a call",
    }
    assert abs(float(found[0]["at"]) - state.clock()) < 60
    assert await faults(state) == []


async def test_the_chains_of_several_workers_are_told_apart(state: State) -> None:
    first, second = writing(state, "w1"), writing(state, "w2", keys=[OTHER, KEY])
    await note(first, "a")
    await note(second, "b", "c")
    await note(first, "d")

    assert await faults(state, OTHER, KEY) == []
    assert [fault.split(": ")[1] for fault in await faults(state, OTHER)] == [
        "changed, or written without SECRET_KEY"
    ] * 2


async def test_an_entry_that_was_taken_out_is_seen(state: State) -> None:
    await note(writing(state, "w1"), *"abcde")
    ids = [id_ for id_, _entry in await entries(state)]
    await state.redis.xdel(state.keys.audit(), ids[1], ids[2])

    (fault,) = await faults(state)
    assert fault.startswith(ids[3])
    assert fault.endswith("2 entries before this one are missing")


async def test_the_oldest_entries_may_go(state: State) -> None:
    await note(writing(state, "w1"), *"abcde")
    await state.redis.xtrim(state.keys.audit(), maxlen=3, approximate=False)

    assert await faults(state) == []


@pytest.mark.parametrize("field", ["who", "outcome", "at", "n", "prev", "chain", "mac"])
async def test_an_entry_in_which_anything_was_changed_is_seen(state: State, field: str) -> None:
    await note(writing(state, "w1"), *"ab")
    (_, first), (_, second) = await entries(state)
    await state.redis.delete(state.keys.audit())
    for entry in (first, {**second, field: "7"}):
        await state.redis.xadd(state.keys.audit(), entry)  # type: ignore[arg-type]

    assert len(await faults(state)) == 1


async def test_an_entry_that_was_sent_twice_or_late_is_no_fault(state: State) -> None:
    await note(writing(state, "w1"), *"abc")
    found = [entry for _id, entry in await entries(state)]
    await state.redis.delete(state.keys.audit())
    for number in (0, 2, 1, 0):
        await state.redis.xadd(state.keys.audit(), found[number])  # type: ignore[arg-type]

    assert await faults(state) == []


def test_an_entry_that_follows_another_than_stands_there_is_seen() -> None:
    chain = Chain(signing_key(KEY), "w1")
    first, second = chain.link({"what": "a"}), chain.link({"what": "b"})
    chain._number, chain._last = 0, ""
    other = chain.link({"what": "other"})

    told = list(found_faults([("1", other), ("2", second)], [signing_key(KEY)]))
    assert told == [f"2: of {first['chain']}, the entry before this one is another than was written"]


async def test_a_field_is_cut_and_an_empty_one_is_left_out(state: State) -> None:
    audit = writing(state, "w1")
    audit.record("credential.read", who="é" * 1000, what="a", outcome="ok", owner="", why="\ud800")
    await audit.flush()

    ((_id, entry),) = await entries(state)
    assert entry["who"] == "é" * (MAX_FIELD_BYTES // 2)
    assert "owner" not in entry
    assert await faults(state) == []


async def test_the_stream_is_bounded_by_entries(state: State) -> None:
    audit = writing(state, "w1", entries=100)
    await note(audit, *map(str, range(1000)))

    assert 100 <= len(await entries(state)) < 300


async def test_entries_that_are_too_old_go(state: State) -> None:
    for age_days in [10] * 200:
        id_ = f"{int(state.clock() * 1000) - age_days * 86_400_000}-*"
        await state.redis.xadd(state.keys.audit(), {"event": "old"}, id=id_)
    await note(writing(state, "w1", days=7), "a")

    left = await entries(state)
    assert left[-1][1]["what"] == "a"
    assert len(left) < 150


async def test_noting_events_is_one_command_each(redis_url: str, commands: Callable[[], Any]) -> None:
    async with open_state(redis_url) as state:
        audit = writing(state, "w1")
        await note(audit, "first")
        async with commands() as seen:
            await note(audit, "a", "b", "c")

    assert seen == ["XADD"] * 3


async def test_what_was_noted_while_redis_was_away_is_there_once_it_is_back(
    start_private_redis: Callable[..., RedisServer],
) -> None:
    server = start_private_redis()
    assert server.child is not None
    async with open_state(server.url) as state:
        audit = writing(state, "w1")
        await note(audit, "before")
        server.child.kill()
        await note(audit, "a", "b")
        start_private_redis(port=urlsplit(server.url).port)
        async with asyncio.timeout(60):
            while not {"a", "b"} <= {entry["what"] for _id, entry in await entries(state)}:
                await note(audit, "back")
        assert await faults(state) == []


async def test_what_is_lost_after_all_is_in_the_log(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard.audit.audit_log.MAX_UNSENT", 2)
    async with open_state(redis_url) as state:
        audit = writing(state, "w1")
    with structlog.testing.capture_logs() as logs:  # the state is closed
        await note(audit, "a", "b", "c")

    assert [(each["event"], each["entry"]["what"]) for each in logs] == [("audit_entry.lost", "a")]
