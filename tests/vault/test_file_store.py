# ruff: noqa: ASYNC240 - the files are small and local
"""Credentials in files: for this user alone, replaced as a whole, and shared by the workers of a machine."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from switchboard.errors import ConfigurationError, VaultUnavailable
from switchboard.vault import Cipher, Conflict, RecordKey, Undecryptable, Vault
from switchboard.vault.document_store import DocumentStore
from switchboard.vault.file_store import FileDocuments

KEY = RecordKey("server:github", "oauth", '["i", "alice"]')
SECRET = "Vq7-not-to-be-seen"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "vault"


@pytest.fixture
def file_vault(folder: Path, audit: Any, clock: Any) -> Vault:
    return Vault(DocumentStore(FileDocuments(folder), clock), Cipher(["k" * 32]), audit, clock)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


async def test_files_and_their_folder_are_for_this_user_alone(file_vault: Vault, folder: Path) -> None:
    before = os.umask(0)
    try:
        await file_vault.put(KEY, {"t": SECRET}, purpose="test")
    finally:
        os.umask(before)

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert SECRET not in "".join(path.read_text() + path.name for path in folder.iterdir())
    assert "alice" not in "".join(path.name for path in folder.iterdir())


async def test_a_file_that_others_may_read_is_refused_with_what_to_do(file_vault: Vault, folder: Path) -> None:
    await file_vault.put(KEY, {"t": 1}, purpose="test")
    for file in files(folder):
        file.chmod(0o640)

    with pytest.raises(VaultUnavailable, match=r"is open to other users: .* chmod 600 "):
        await file_vault.get(KEY, purpose="test")
    with pytest.raises(VaultUnavailable, match="is open to other users"):
        await file_vault.put(KEY, {"t": 2}, purpose="test")


async def test_a_folder_that_others_may_enter_is_refused(file_vault: Vault, folder: Path) -> None:
    await file_vault.put(KEY, {"t": 1}, purpose="test")
    folder.chmod(0o755)

    with pytest.raises(ConfigurationError, match=r"VAULT: .* is open to other users; close it with: chmod 700"):
        FileDocuments(folder)
    with pytest.raises(VaultUnavailable, match="is open to other users"):
        await file_vault.put(KEY, {"t": 2}, purpose="test")
    with pytest.raises(VaultUnavailable, match="is open to other users"):
        await file_vault.names(KEY.namespace, KEY.owner)


async def test_a_link_is_not_followed(file_vault: Vault, folder: Path, tmp_path: Path) -> None:
    await file_vault.put(KEY, {"t": 1}, purpose="test")
    for file in files(folder):
        file.rename(tmp_path / file.name)
        file.symlink_to(tmp_path / file.name)

    with pytest.raises(VaultUnavailable):
        await file_vault.get(KEY, purpose="test")


async def test_what_a_writer_left_that_was_killed_is_no_record_and_no_obstacle(file_vault: Vault, folder: Path) -> None:
    await file_vault.put(KEY, {"t": 1}, purpose="test")
    (folder / ".new").write_text('{"key": ["half')
    (folder / ".new").chmod(0o600)

    record = await file_vault.get(KEY, purpose="test")
    assert record is not None
    assert await file_vault.names(KEY.namespace, KEY.owner) == ["oauth"]
    await file_vault.put(KEY, {"t": 2}, purpose="test", replacing=record.version)
    assert not (folder / ".new").exists()


async def test_a_file_that_was_cut_short_is_no_record_and_hides_no_other(file_vault: Vault, folder: Path) -> None:
    await file_vault.put(KEY, {"t": 1}, purpose="test")
    before = set(files(folder))
    await file_vault.put(RecordKey(KEY.namespace, "other", KEY.owner), {"t": 2}, purpose="test")
    (other,) = set(files(folder)) - before
    other.write_text(other.read_text()[:40])

    with pytest.raises(Undecryptable):
        await file_vault.get(RecordKey(KEY.namespace, "other", KEY.owner), purpose="test")
    assert await file_vault.names(KEY.namespace, KEY.owner) == ["oauth"]


async def test_no_file_stays_open(file_vault: Vault) -> None:
    async def use() -> int:
        await file_vault.put(KEY, {"t": 1}, purpose="test")
        await file_vault.get(KEY, purpose="test")
        await file_vault.names(KEY.namespace, KEY.owner)
        await file_vault.delete(KEY, purpose="test")
        return len(os.listdir("/dev/fd"))

    assert await use() == await use()


WRITER = """
import asyncio, sys
from pathlib import Path
from switchboard.audit import NoAuditLog
from switchboard.vault import Cipher, Conflict, RecordKey, Vault
from switchboard.vault.document_store import DocumentStore
from switchboard.vault.file_store import FileDocuments

async def main():
    store = DocumentStore(FileDocuments(Path(sys.argv[1])), lambda: 1.7e9)
    vault = Vault(store, Cipher(["k" * 32]), NoAuditLog(), lambda: 1.7e9)
    key, done = RecordKey("server:github", "oauth", '["i", "alice"]'), 0
    while done < 20:
        record = await vault.get(key, purpose="test")
        try:
            await vault.put(key, {"n": record.value["n"] + 1}, purpose="test", replacing=record.version)
            done += 1
        except Conflict:
            pass

asyncio.run(main())
"""


async def test_processes_that_share_a_folder_lose_no_write(file_vault: Vault, folder: Path) -> None:
    await file_vault.put(KEY, {"n": 0}, purpose="test")

    started = [await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(folder)) for _ in range(3)]
    assert [await each.wait() for each in started] == [0, 0, 0]

    record = await file_vault.get(KEY, purpose="test")
    assert record is not None
    assert record.value == {"n": 60}


async def test_a_disk_that_takes_nothing_changes_nothing(
    file_vault: Vault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await file_vault.put(KEY, {"t": 1}, purpose="test")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(VaultUnavailable, match="No space left on device"):
            await file_vault.put(KEY, {"t": 2}, purpose="test", replacing=version)

    record = await file_vault.get(KEY, purpose="test")
    assert record is not None
    assert record.version == version
    assert file_vault.problem == ""


async def test_a_version_that_another_process_replaced_meanwhile_is_a_conflict(
    file_vault: Vault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the read of the version and the write, which are two steps, another writes."""
    version = await file_vault.put(KEY, {"t": 1}, purpose="test")
    documents = file_vault.store._documents  # type: ignore[attr-defined]
    write = documents.set

    async def late(name: str, text: str, expected: str | None) -> bool:
        monkeypatch.setattr(documents, "set", write)
        await file_vault.put(KEY, {"t": "other"}, purpose="test")
        return bool(await write(name, text, expected))

    monkeypatch.setattr(documents, "set", late)
    with pytest.raises(Conflict):
        await file_vault.put(KEY, {"t": 2}, purpose="test", replacing=version)
