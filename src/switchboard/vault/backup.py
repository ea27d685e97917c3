"""A vault as one file, and back: each record a line, encrypted with the newest key of the ring that made it.

The first line names the format and the backup, the last says how many records there are. Each line is bound to its
number and its backup, so that none can be changed, taken out, swapped or put in unnoticed. Who restores it needs the
key that it was made with in VAULT_KEYS; under which keys the vault itself is by then does not matter.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from switchboard.errors import SwitchboardError
from switchboard.vault.cipher import wipe
from switchboard.vault.records import Conflict, RecordKey, RecordRefused, Undecryptable
from switchboard.vault.rotation import Progress, untold
from switchboard.vault.vault import KEY_CHECK, Vault

FORMAT: Final = "switchboard vault backup"
VERSION: Final = 1
PURPOSE_BACKUP, PURPOSE_RESTORE = "backup", "restore"


class BadBackup(SwitchboardError):
    """A file that is no whole backup, or of other keys; nothing of it was restored."""


@dataclass
class Restored:
    """What came of a backup's records."""

    restored: int = 0
    kept: int = 0
    """Records that were there, and were left as they are."""
    expired: int = 0
    refused: int = 0
    """Records that the vault does not take: their owner has too many."""


async def backup(vault: Vault, who: str, progress: Progress = untold) -> AsyncIterator[str]:
    """The lines of a backup, without line ends.

    Raises:
        Undecryptable: a record cannot be decrypted, so it cannot be backed up.
        StateUnavailable: the store cannot be asked now.
    """
    id_, number = secrets.token_hex(8), 0
    yield json.dumps({"format": FORMAT, "version": VERSION, "backup": id_, "key": vault.cipher.newest})
    keys = [key for key in await vault.store.keys() if key != KEY_CHECK]
    for done, key in enumerate(keys, 1):
        progress(done, len(keys))
        record = await vault.get(key, purpose=PURPOSE_BACKUP, who=who)
        if record is None:
            continue
        number += 1
        place = [key.namespace, key.name, key.owner]
        yield _line(vault, id_, number, {"key": place, "value": record.value, "expires_at": record.expires_at})
    yield _line(vault, id_, number + 1, {"records": number})


async def restore(
    vault: Vault, lines: Iterable[str], who: str, *, replace: bool = False, progress: Progress = untold
) -> Restored:
    """Put the records of a backup into a vault, once all of it was read.

    Args:
        replace: those too that are there, else they are left as they are.

    Raises:
        BadBackup: it is not whole, or was made with a key that is not in the ring.
        StateUnavailable: the store cannot be asked now; run it again.
    """
    done = Restored()
    records = list(_parsed(vault, lines))
    for number, (key, document) in enumerate(records, 1):
        progress(number, len(records))
        expires_at = document["expires_at"]
        if expires_at is not None and expires_at <= vault.now():
            done.expired += 1
            continue
        replacing = None if replace else ""
        try:
            await vault.put(
                key, document["value"], purpose=PURPOSE_RESTORE, expires_at=expires_at, replacing=replacing, who=who
            )
            done.restored += 1
        except Conflict:
            done.kept += 1
        except RecordRefused:
            done.refused += 1
    return done


def _line(vault: Vault, id_: str, number: int, document: Mapping[str, Any]) -> str:
    return vault.cipher.encrypt(json.dumps(document, separators=(",", ":")).encode(), _bound(id_, number))


def _parsed(vault: Vault, lines: Iterable[str]) -> Iterator[tuple[RecordKey, Mapping[str, Any]]]:
    each = iter(lines)
    id_, key_id = _head(next(each, ""))
    ended = False
    for number, line in enumerate(each, 1):
        if ended:
            raise BadBackup("the backup goes on after its end")
        document = _opened(vault, key_id, line.strip(), id_, number)
        if "records" in document:
            if document["records"] != number - 1:
                raise BadBackup("the backup's end tells of another number of records")
            ended = True
        else:
            yield RecordKey(*document["key"]), document
    if not ended:
        raise BadBackup("the backup is cut off: its end is missing")


def _head(line: str) -> tuple[str, str]:
    try:
        head: Any = json.loads(line)
        if head["format"] == FORMAT and head["version"] == VERSION:
            return str(head["backup"]), str(head["key"])
    except (ValueError, TypeError, KeyError):
        pass
    raise BadBackup("the file is no backup of a vault, or of a later version")


def _opened(vault: Vault, key_id: str, box: str, id_: str, number: int) -> Any:
    try:
        plain = vault.cipher.decrypt(key_id, box, _bound(id_, number), what=f"line {number + 1} of the backup")
    except Undecryptable as error:
        raise BadBackup(str(error)) from error
    try:
        return json.loads(plain)
    finally:
        wipe(plain)


def _bound(id_: str, number: int) -> bytes:
    return json.dumps([FORMAT, VERSION, id_, number], separators=(",", ":")).encode()
