"""A backup is whole, readable with its key alone, and put back without harm to what is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from switchboard.state import State
from switchboard.vault import Cipher, RecordKey, RedisStore, Vault
from switchboard.vault.backup import BadBackup, backup, restore
from tests.vault.conftest import Audit, Clock, Opened

OLD, NEW = "o" * 32, "n" * 32
SECRET, ALICE = "Vq7-not-to-be-seen", '["i", "alice"]'
HERS, OURS, ENDING = (
    RecordKey("server:github", "oauth", ALICE),
    RecordKey("gateway", "client"),
    RecordKey("plugin:mail", "code", ALICE),
)

WithKeys = Callable[..., Vault]


@pytest.fixture
def over(state: State, audit: Audit, clock: Clock) -> WithKeys:
    return lambda *keys: Vault(RedisStore(state, clock), Cipher(keys), audit, clock)


@pytest.fixture
async def lines(over: WithKeys, clock: Clock) -> list[str]:
    """A backup of three records, made with the old key."""
    vault = over(OLD)
    await vault.put(HERS, {"t": SECRET}, purpose="test")
    await vault.put(OURS, {"t": 1}, purpose="test")
    await vault.put(ENDING, {"t": 2}, purpose="test", expires_at=clock.now + 60)
    return [line async for line in backup(vault, "test")]


async def emptied(state: State) -> None:
    await state.redis.flushdb()


async def test_a_backup_brings_everything_back_under_the_newest_key(
    over: WithKeys, lines: list[str], state: State, clock: Clock
) -> None:
    await emptied(state)
    done = await restore(over(NEW, OLD), lines, "test")

    assert (done.restored, done.kept, done.expired, done.refused) == (3, 0, 0, 0)
    for key, value, expires_at in (
        (HERS, {"t": SECRET}, None),
        (OURS, {"t": 1}, None),
        (ENDING, {"t": 2}, clock.now + 60),
    ):
        record = await over(NEW).get(key, purpose="test")
        assert record is not None
        assert (record.value, record.expires_at) == (value, expires_at)


async def test_a_backup_goes_into_another_store(lines: list[str], opened: Opened, audit: Audit, clock: Clock) -> None:
    async with opened("file") as store:
        vault = Vault(store, Cipher([NEW, OLD]), audit, clock)
        assert (await restore(vault, lines, "test")).restored == 3
        assert await vault.names("server:github", ALICE) == ["oauth"]


async def test_nothing_of_a_record_stands_in_a_backup(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert len(lines) == 5
    assert [word for word in (SECRET, "alice", "github", "oauth", OLD) if word in text] == []


async def test_what_is_there_stays_unless_it_is_to_be_replaced(over: WithKeys, lines: list[str]) -> None:
    vault = over(OLD)
    await vault.put(HERS, {"t": "newer"}, purpose="test")
    await vault.delete(OURS, purpose="test")

    done = await restore(vault, lines, "test")
    assert (done.restored, done.kept) == (1, 2)
    record = await vault.get(HERS, purpose="test")
    assert record is not None
    assert record.value == {"t": "newer"}

    assert (await restore(vault, lines, "test", replace=True)).restored == 3
    record = await vault.get(HERS, purpose="test")
    assert record is not None
    assert record.value == {"t": SECRET}


async def test_what_has_expired_since_is_left_out(over: WithKeys, lines: list[str], state: State, clock: Clock) -> None:
    await emptied(state)
    clock.now += 61
    done = await restore(over(OLD), lines, "test")
    assert (done.restored, done.expired) == (2, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: lines[:1], "cut off"),
        (lambda lines: lines[5:], "no backup"),
        (lambda lines: lines[1:], "no backup"),
        (lambda lines: ["{}", *lines[1:]], "no backup"),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 2'), *lines[1:]], "no backup"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "does not decrypt"),
        (lambda lines: [*lines[:2], *lines[3:]], "does not decrypt"),
        (lambda lines: [*lines[:-1], lines[-1], lines[-1]], "goes on after its end"),
        (lambda lines: [lines[0], lines[1][:40] + "AAAA" + lines[1][44:], *lines[2:]], "does not decrypt"),
    ],
    ids=["no end", "head alone", "empty", "no head", "another head", "later", "swapped", "one less", "more", "changed"],
)
async def test_of_a_backup_that_is_not_whole_nothing_is_restored(
    over: WithKeys, lines: list[str], state: State, change: Callable[[list[str]], list[str]], said: str
) -> None:
    await emptied(state)
    with pytest.raises(BadBackup, match=said):
        await restore(over(OLD), change(lines), "test")
    assert await over(OLD).store.keys() == []


async def test_a_backup_of_other_keys_is_refused_by_name(over: WithKeys, lines: list[str], state: State) -> None:
    await emptied(state)
    with pytest.raises(BadBackup, match=r"line 2 of the backup is encrypted with a key \(.*\) that is not"):
        await restore(over(NEW), lines, "test")


async def test_every_record_that_is_backed_up_or_restored_is_audited(
    over: WithKeys, lines: list[str], audit: Audit
) -> None:
    audit.entries.clear()
    await restore(over(OLD), [line async for line in backup(over(OLD), "somebody")], "somebody")

    told = [(entry["event"], entry["why"], entry["outcome"]) for entry in audit.entries]
    assert told == [("credential.read", "backup", "ok")] * 3 + [("credential.written", "restore", "conflict")] * 3
    assert {entry["who"] for entry in audit.entries} == {"somebody"}
