"""What every store of the vault does alike."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from switchboard.vault import Conflict, RecordKey, RecordRefused, Vault
from switchboard.vault.records import MAX_VALUE_BYTES

ALICE, BOB = '["https://idp.example", "alice"]', '["https://idp.example", "b{o}b / \\u00e9"]'
GITHUB = RecordKey("server:github", "oauth", ALICE)


async def test_what_was_kept_is_read_again_and_anybody_elses_place_is_empty(vault: Vault) -> None:
    version = await vault.put(GITHUB, {"access_token": "ünï", "n": [1, None]}, purpose="signing in")

    record = await vault.get(GITHUB, purpose="a call")
    assert record is not None
    assert record.value == {"access_token": "ünï", "n": [1, None]}
    assert record.version == version
    assert record.expires_at is None
    for other in (
        RecordKey("server:github", "oauth"),
        RecordKey("server:github", "oauth", BOB),
        RecordKey("server:github", "other", ALICE),
        RecordKey("plugin:github", "oauth", ALICE),
    ):
        assert await vault.get(other, purpose="a call") is None


async def test_a_record_is_gone_once_it_was_deleted(vault: Vault) -> None:
    await vault.put(GITHUB, {"a": 1}, purpose="test")

    assert await vault.delete(GITHUB, purpose="test") is True
    assert await vault.get(GITHUB, purpose="test") is None
    assert await vault.delete(GITHUB, purpose="test") is False
    assert await vault.names("server:github", ALICE) == []
    assert await vault.owners("server:github") == []


async def test_a_record_that_has_expired_is_as_if_it_were_not_there(vault: Vault, clock: Any) -> None:
    await vault.put(GITHUB, {"a": 1}, purpose="test", expires_at=clock.now + 60)
    record = await vault.get(GITHUB, purpose="test")
    assert record is not None
    assert record.expires_at == clock.now + 60

    clock.now += 61

    assert await vault.get(GITHUB, purpose="test") is None
    assert await vault.names("server:github", ALICE) == []
    assert await vault.owners("server:github") == []
    assert await vault.delete(GITHUB, purpose="test") is False
    await vault.put(GITHUB, {"a": 2}, purpose="test", replacing="")


async def test_a_version_is_replaced_once(vault: Vault) -> None:
    first = await vault.put(GITHUB, {"a": 1}, purpose="test", replacing="")
    with pytest.raises(Conflict, match="server:github/oauth was changed"):
        await vault.put(GITHUB, {"a": 2}, purpose="test", replacing="")
    second = await vault.put(GITHUB, {"a": 3}, purpose="test", replacing=first)
    with pytest.raises(Conflict):
        await vault.put(GITHUB, {"a": 4}, purpose="test", replacing=first)

    record = await vault.get(GITHUB, purpose="test")
    assert record is not None
    assert (record.value, record.version) == ({"a": 3}, second)


async def test_a_version_of_a_record_that_was_deleted_is_not_replaced(vault: Vault) -> None:
    version = await vault.put(GITHUB, {"a": 1}, purpose="test")
    await vault.delete(GITHUB, purpose="test")

    with pytest.raises(Conflict):
        await vault.put(GITHUB, {"a": 2}, purpose="test", replacing=version)
    assert await vault.get(GITHUB, purpose="test") is None


async def test_of_writers_that_replace_the_same_version_one_succeeds(vault: Vault) -> None:
    version = await vault.put(GITHUB, {"by": None}, purpose="test")

    ended = await asyncio.gather(
        *(vault.put(GITHUB, {"by": n}, purpose="test", replacing=version) for n in range(8)), return_exceptions=True
    )

    won = [n for n, each in enumerate(ended) if isinstance(each, str)]
    assert len(won) == 1
    assert all(isinstance(each, Conflict) for each in ended if not isinstance(each, str))
    record = await vault.get(GITHUB, purpose="test")
    assert record is not None
    assert record.value == {"by": won[0]}


async def test_who_has_what_can_be_listed(vault: Vault) -> None:
    await vault.put(RecordKey("server:a {b}", "key"), {}, purpose="test")
    await vault.put(RecordKey("server:a {b}", "oauth", ALICE), {}, purpose="test")
    await vault.put(RecordKey("server:a {b}", "more", BOB), {}, purpose="test")
    await vault.put(RecordKey("server:a {b}", "oauth", BOB), {}, purpose="test")
    await vault.put(RecordKey("gateway", "oauth", BOB), {}, purpose="test")

    assert await vault.names("server:a {b}") == ["key"]
    assert await vault.names("server:a {b}", BOB) == ["more", "oauth"]
    assert await vault.owners("server:a {b}") == ["", ALICE, BOB]
    assert await vault.owners("gateway") == [BOB]
    assert await vault.owners("server:a") == []
    assert len(set(await vault.store.keys())) == 6  # five, and the proof of the keys


async def test_the_largest_value_is_kept_and_a_larger_one_is_refused(vault: Vault) -> None:
    room = MAX_VALUE_BYTES - len('{"t":""}')
    await vault.put(GITHUB, {"t": "x" * room}, purpose="test")
    with pytest.raises(RecordRefused, match=f"{MAX_VALUE_BYTES + 1} bytes as JSON; {MAX_VALUE_BYTES} are allowed"):
        await vault.put(GITHUB, {"t": "x" * (room + 1)}, purpose="test")

    record = await vault.get(GITHUB, purpose="test")
    assert record is not None
    assert len(record.value["t"]) == room


async def test_an_owner_has_so_many_records_and_others_are_not_touched_by_it(
    vault: Vault, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("redis_store", "document_store"):
        monkeypatch.setattr(f"switchboard.vault.{module}.MAX_RECORDS", 5)
    for n in range(5):
        ends = clock.now + 10 if n == 0 else None
        await vault.put(RecordKey("plugin:mail", f"key-{n}", ALICE), {}, purpose="test", expires_at=ends)
    with pytest.raises(RecordRefused, match="plugin:mail has 5 credentials of one owner already"):
        await vault.put(RecordKey("plugin:mail", "more", ALICE), {}, purpose="test")
    await vault.put(RecordKey("plugin:mail", "key-1", ALICE), {"again": 1}, purpose="test")
    await vault.put(RecordKey("plugin:mail", "more", BOB), {}, purpose="test")

    clock.now += 11  # one has expired

    await vault.put(RecordKey("plugin:mail", "more", ALICE), {}, purpose="test")
    assert "key-0" not in await vault.names("plugin:mail", ALICE)
