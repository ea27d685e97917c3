"""Sealed records as documents: one text under one name, in whatever keeps such. `DocumentStore` satisfies `Store`.

A name is made of digests, so that any store takes it and none shows who has what: `NAMESPACE-OWNER-NAME`, by whose
beginning the records of a namespace, and of an owner in it, are found.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import structlog

from switchboard.errors import VaultUnavailable
from switchboard.vault.records import MAX_RECORDS, Conflict, RecordKey, RecordRefused, SealedRecord, Undecryptable

CONCURRENT: Final = 8
"""Documents that are read at once for a list."""

ATTEMPTS: Final = 8
"""How often a write that replaces whatever is there is tried while others write."""

log = structlog.get_logger("switchboard.vault")


class Documents(Protocol):
    """Texts by name. Every method raises `VaultUnavailable` when the store cannot be asked now."""

    async def get(self, name: str) -> tuple[str, str] | None:
        """A text, and the mark of what was read, for `set`."""
        ...

    async def set(self, name: str, text: str, expected: str | None) -> bool:
        """Keep a text.

        Args:
            expected: the mark of what is to be replaced; `None`: nothing may be there.

        Returns:
            `False` when something else is there; nothing was changed then.
        """
        ...

    async def remove(self, name: str) -> None:
        """Remove a text, if there is one."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """The names that begin so."""
        ...


class DocumentStore:
    """Records over documents.

    Args:
        clock: Unix seconds; the fleet's.
    """

    def __init__(self, documents: Documents, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._clock = clock

    async def read(self, key: RecordKey) -> SealedRecord | None:
        """See `Store`."""
        found = await self._get(_name(key))
        return _parsed(found[0], key.label)[1] if found else None

    async def write(self, key: RecordKey, record: SealedRecord, *, replacing: str | None) -> None:
        """See `Store`."""
        name, text = _name(key), _text(key, record)
        for _ in range(ATTEMPTS if replacing is None else 1):
            found = await self._get(name)
            before = _parsed(found[0], key.label)[1] if found else None
            version = before.version if before and not before.expired(self._clock()) else ""
            if replacing is not None and replacing != version:
                raise Conflict(key)
            if found is None:
                await self._make_room(key)
            if await self._documents.set(name, text, found[1] if found else None):
                return
        raise Conflict(key)

    async def delete(self, key: RecordKey) -> bool:
        """See `Store`."""
        found = await self._get(_name(key))
        if found is None:
            return False
        await self._documents.remove(_name(key))
        try:
            return not _parsed(found[0], key.label)[1].expired(self._clock())
        except Undecryptable:  # it was one all the same
            return True

    async def keys(self, namespace: str | None = None, owner: str | None = None) -> list[RecordKey]:
        """See `Store`."""
        prefix = "" if namespace is None else f"{_digest(namespace)}-"
        if owner is not None and namespace is not None:
            prefix += f"{_digest(owner)}-"
        found = await self._listed(prefix)
        return [key for key in found if owner is None or key.owner == owner]

    async def _get(self, name: str) -> tuple[str, str] | None:
        with _understood():
            return await self._documents.get(name)

    async def _names(self, prefix: str) -> list[str]:
        with _understood():
            return await self._documents.names(prefix)

    async def _make_room(self, key: RecordKey) -> None:
        prefix = f"{_digest(key.namespace)}-{_digest(key.owner)}-"
        names = await self._names(prefix)
        if len(names) >= MAX_RECORDS and len(await self._listed(prefix, forgetting=True)) >= MAX_RECORDS:
            raise RecordRefused(f"{key.namespace} has {MAX_RECORDS} credentials of one owner already; delete one first")

    async def _listed(self, prefix: str, *, forgetting: bool = False) -> list[RecordKey]:
        """The keys of documents whose names begin so, sorted; those that have expired are left out, or removed."""
        limit = asyncio.Semaphore(CONCURRENT)

        async def one(name: str) -> RecordKey | None:
            async with limit:
                found = await self._get(name)
                if found is None:
                    return None
                try:
                    key, record = _parsed(found[0], name)
                except Undecryptable as error:
                    log.warning("credential.undecryptable", error=str(error))
                    return None
                if not record.expired(self._clock()):
                    return key
                if forgetting:
                    await self._documents.remove(name)
                return None

        found = await asyncio.gather(*map(one, await self._names(prefix)))
        return sorted((key for key in found if key), key=lambda key: (key.namespace, key.owner, key.name))


@contextmanager
def _understood() -> Iterator[None]:
    """An answer that lacks what every answer has is as none."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise VaultUnavailable(
            f"The vault's store answers without what was asked for ({type(error).__name__})"
        ) from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _name(key: RecordKey) -> str:
    return f"{_digest(key.namespace)}-{_digest(key.owner)}-{_digest(key.name)}"


def _text(key: RecordKey, record: SealedRecord) -> str:
    return json.dumps({"key": [key.namespace, key.name, key.owner], "record": str(record)}, separators=(",", ":"))


def _parsed(text: str, what: str) -> tuple[RecordKey, SealedRecord]:
    try:
        document: Any = json.loads(text)
        key = RecordKey(*document["key"])
        return key, SealedRecord.parsed(document["record"], key)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Undecryptable(f"{what} is not as the vault writes records: it was changed from outside") from None
