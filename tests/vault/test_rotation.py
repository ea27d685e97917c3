"""New keys while the server runs, and keys that are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from switchboard.errors import ConfigurationError
from switchboard.state import State
from switchboard.vault import Cipher, Conflict, RecordKey, RedisStore, Store, Undecryptable, Vault
from switchboard.vault.rotation import inventory, rotate
from tests.vault.conftest import Audit, Clock

OLD, NEW, LOST = "o" * 32, "n" * 32, "l" * 32
PEOPLE = [f'["i", "person-{n}"]' for n in range(10)]
KEYS = [RecordKey(f"server:{name}", "oauth", person) for name in ("github", "drive") for person in PEOPLE]

WithKeys = Callable[..., Vault]


@pytest.fixture
def over(store: Store, audit: Audit, clock: Clock) -> WithKeys:
    return lambda *keys: Vault(store, Cipher(keys), audit, clock)


async def test_after_a_rotation_the_old_key_is_needed_no_more(over: WithKeys, clock: Clock) -> None:
    old = over(OLD)
    await old.put(KEYS[0], {"n": 0}, purpose="test", expires_at=clock.now + 60)
    version = await old.put(KEYS[1], {"n": 1}, purpose="test")

    done = await rotate(over(NEW, OLD), "test")

    assert (done.reencrypted, done.current, done.undecryptable) == (2, 0, [])
    new = over(NEW)
    assert await new.check_keys()
    first = await new.get(KEYS[0], purpose="test")
    second = await new.get(KEYS[1], purpose="test")
    assert first is not None
    assert second is not None
    assert (first.value, first.expires_at) == ({"n": 0}, clock.now + 60)
    assert second.version == version
    with pytest.raises(ConfigurationError):
        await old.put(KEYS[2], {}, purpose="test")
    assert (await rotate(new, "test")).current == 2


async def test_how_many_records_are_done_is_told_until_all_are(over: WithKeys) -> None:
    for key in KEYS[:3]:
        await over(OLD).put(key, {}, purpose="test")
    told: list[tuple[int, int]] = []
    await rotate(over(NEW, OLD), "test", progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    told.clear()
    await inventory(over(NEW), "test", lambda done, of: told.append((done, of)))
    assert told[-1] == (3, 3)


async def test_keys_are_rotated_under_traffic_and_no_call_fails(state: State, audit: Audit, clock: Clock) -> None:
    """Three workers, each with its own ring as a rotation goes through the fleet, read and write all the while."""
    rings = [[OLD, NEW], [NEW, OLD], [NEW, OLD]]
    workers = [Vault(RedisStore(state, clock), Cipher(ring), audit, clock) for ring in rings]
    for key in KEYS:
        await workers[0].put(key, {"n": 0}, purpose="test")
    counts, rotating, writes = dict.fromkeys(KEYS, 0), True, 0

    async def traffic(vault: Vault, start: int) -> None:
        nonlocal writes
        turn = start
        while rotating:
            key = KEYS[turn % len(KEYS)]
            turn += 1
            record = await vault.get(key, purpose="a call")
            assert record is not None
            assert record.value["n"] >= 0
            try:
                await vault.put(key, {"n": record.value["n"] + 1}, purpose="a refresh", replacing=record.version)
                counts[key] += 1
                writes += 1
            except Conflict:  # another worker was first
                pass

    async def rotations() -> None:
        nonlocal rotating
        try:
            rotator = Vault(RedisStore(state, clock), Cipher([NEW, OLD]), audit, clock)
            done, before = 0, -1
            while done < 20 or writes == before:
                before = writes
                done += (await rotate(rotator, "test")).reencrypted
        finally:
            rotating = False

    async with asyncio.TaskGroup() as tasks:
        for number, vault in enumerate(workers):
            tasks.create_task(traffic(vault, number * 7))
        tasks.create_task(rotations())

    await rotate(workers[1], "test")
    alone = Vault(RedisStore(state, clock), Cipher([NEW]), audit, clock)
    for key in KEYS:
        record = await alone.get(key, purpose="test")
        assert record is not None
        assert record.value == {"n": counts[key]}, "a write was lost"
    assert writes > 0
    assert set(audit.outcomes("credential.read")) == {"ok"}
    assert set(audit.outcomes("credential.written")) <= {"ok", "conflict"}


async def test_a_record_that_is_deleted_while_it_is_rotated_stays_deleted(
    state: State, audit: Audit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(RedisStore(state, clock), Cipher([NEW, OLD]), audit, clock)
    await Vault(RedisStore(state, clock), Cipher([OLD]), audit, clock).put(KEYS[0], {}, purpose="test")
    write = vault.store.write

    async def late(key: RecordKey, record: Any, *, replacing: str | None) -> None:
        monkeypatch.setattr(vault.store, "write", write)
        await vault.delete(KEYS[0], purpose="signing out")
        await write(key, record, replacing=replacing)

    monkeypatch.setattr(vault.store, "write", late)
    await rotate(vault, "test")
    assert await vault.get(KEYS[0], purpose="test") is None


async def test_what_cannot_be_decrypted_stays_until_it_is_said_to_go(over: WithKeys) -> None:
    await over(LOST).put(KEYS[0], {"n": 0}, purpose="test")
    await over(LOST).put(KEYS[1], {"n": 1}, purpose="test")
    new = over(NEW)

    done = await rotate(new, "test")
    assert (done.reencrypted, sorted(key.owner for key in done.undecryptable)) == (0, PEOPLE[:2])
    found = await inventory(new, "test")
    assert [key.owner for key in found.undecryptable] == PEOPLE[:2]
    with pytest.raises(ConfigurationError):
        await new.put(KEYS[2], {}, purpose="test")
    with pytest.raises(Undecryptable):
        await new.get(KEYS[0], purpose="test")

    done = await rotate(new, "test", delete_undecryptable=True)

    assert (done.deleted, done.undecryptable) == (2, [])
    assert await new.get(KEYS[0], purpose="test") is None
    await new.put(KEYS[0], {"n": 2}, purpose="test")


async def test_an_inventory_counts_keys_namespaces_and_owners(over: WithKeys, audit: Audit) -> None:
    for key in KEYS[:3]:
        await over(OLD).put(key, {}, purpose="test")
    both = over(NEW, OLD)
    await both.put(RecordKey("plugin:mail", "key"), {}, purpose="test")
    audit.entries.clear()

    found = await inventory(both, "somebody")

    assert found.namespaces == {"server:github": 3, "plugin:mail": 1}
    assert {name: len(owners) for name, owners in found.owners.items()} == {"server:github": 3, "plugin:mail": 1}
    assert sorted(found.keys.values()) == [1, 3]
    assert found.undecryptable == []
    assert [(entry["event"], entry["who"]) for entry in audit.entries] == [("vault.examined", "somebody")]


async def test_a_rotation_is_audited_record_by_record(over: WithKeys, audit: Audit) -> None:
    await over(OLD).put(KEYS[0], {}, purpose="test")
    audit.entries.clear()
    await rotate(over(NEW, OLD), "somebody")

    told = [(entry["event"], entry["who"], entry["what"], entry["owner"]) for entry in audit.entries]
    assert told == [
        ("credential.reencrypted", "somebody", "server:github/oauth", PEOPLE[0]),
        ("credential.reencrypted", "somebody", "gateway/.key-check", "gateway"),
    ]
