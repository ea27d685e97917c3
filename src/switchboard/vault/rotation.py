"""Looking through all records of a vault: under which keys they are, and encrypting them with the newest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from switchboard.errors import ConfigurationError
from switchboard.vault.records import RecordKey, Undecryptable
from switchboard.vault.vault import KEY_CHECK, Vault

Progress = Callable[[int, int], None]
"""Told how many of how many records are done."""


def untold(_done: int, _of: int) -> None:
    """Where nobody wants to know."""


@dataclass
class Inventory:
    """What a vault holds."""

    keys: Counter[str] = field(default_factory=Counter)
    """Records by the id of the key that they are encrypted with."""
    namespaces: Counter[str] = field(default_factory=Counter)
    owners: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Who has records, by namespace."""
    undecryptable: list[RecordKey] = field(default_factory=list)


@dataclass
class Rotation:
    """What was done."""

    reencrypted: int = 0
    current: int = 0
    """Records that were under the newest key already."""
    undecryptable: list[RecordKey] = field(default_factory=list)
    deleted: int = 0


async def inventory(vault: Vault, who: str, progress: Progress = untold) -> Inventory:
    """Read every record once, and see whether it decrypts. Audited as one event.

    Raises:
        StateUnavailable: the store cannot be asked now.
    """
    found = Inventory()
    async for key in _records(vault, progress):
        found.namespaces[key.namespace] += 1
        found.owners[key.namespace].add(key.owner)
        try:
            sealed = await vault.store.read(key)
            if sealed is not None:
                found.keys[sealed.key_id] += 1
                vault.cipher.open(key, sealed)
        except Undecryptable:
            found.undecryptable.append(key)
    vault.audit.record("vault.examined", who=who, what="vault", outcome="ok", records=str(found.namespaces.total()))
    return found


async def rotate(
    vault: Vault, who: str, *, delete_undecryptable: bool = False, progress: Progress = untold
) -> Rotation:
    """Encrypt every record with the newest key, while workers read and write; then the proof of the keys.

    Raises:
        StateUnavailable: the store cannot be asked now; run it again.
    """
    done = Rotation()
    async for key in _records(vault, progress):
        try:
            if await vault.reencrypt(key, purpose="rotation", who=who):
                done.reencrypted += 1
            else:
                done.current += 1
        except Undecryptable:
            done.undecryptable.append(key)
    if delete_undecryptable:
        for key in done.undecryptable:
            done.deleted += await vault.delete(key, purpose="cannot be decrypted", who=who)
        done.undecryptable.clear()
    await _prove_keys_anew(vault, who, force=delete_undecryptable)
    return done


async def _prove_keys_anew(vault: Vault, who: str, *, force: bool) -> None:
    try:
        await vault.check_keys()
    except ConfigurationError:
        if not force:
            return
        await vault.delete(KEY_CHECK, purpose="cannot be decrypted", who=who)
    else:
        await vault.reencrypt(KEY_CHECK, purpose="rotation", who=who)


async def _records(vault: Vault, progress: Progress) -> AsyncIterator[RecordKey]:
    keys = [key for key in await vault.store.keys() if key != KEY_CHECK]
    for done, key in enumerate(keys):
        progress(done, len(keys))
        yield key
    progress(len(keys), len(keys))


def told(keys: list[RecordKey]) -> list[dict[str, Any]]:
    """Keys as JSON has them."""
    return [{"namespace": key.namespace, "name": key.name, "owner": key.owner} for key in keys]
