"""What the vault keeps, whose it is, and what a store of it must be able to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from switchboard.errors import SwitchboardError

MAX_VALUE_BYTES: Final = 16_384
"""The largest value, as JSON: encrypted and encoded it still goes into one secret of any store (Azure takes 25 KB)."""

MAX_RECORDS: Final = 100
"""Records that one owner may have in one namespace."""

MAX_OWNER: Final = 1_024
"""Characters: an issuer's URL and a subject, each 255 at most where our authorization server made them, and escapes."""

_NAMESPACE: Final = re.compile(r"gateway|(plugin|server):[^\x00-\x1f\x7f]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")


class RecordRefused(SwitchboardError, ValueError):
    """A record that the vault does not take; the message says what is wrong with it, and nothing of its value."""


class Conflict(SwitchboardError):
    """The record was changed by another since it was read: read it again."""

    def __init__(self, key: RecordKey) -> None:
        super().__init__(f"{key.label} was changed meanwhile")


class Undecryptable(SwitchboardError):
    """A record that no key of VAULT_KEYS decrypts, or that stands where it was not written."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Where a record stands. It is authenticated with the value: moved to another key, a record does not decrypt.

    Raises:
        RecordRefused: a part is not as it must be.
    """

    namespace: str
    """`plugin:NAME`, `server:NAME` or `gateway`."""

    name: str
    """Up to 128 letters, digits and `. _ : @ / -`."""

    owner: str = ""
    """Whose it is: a person (`Principal.person`); empty for the gateway's own."""

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise RecordRefused(f"{self.namespace[:80]!a} is no namespace: use plugin:NAME, server:NAME or gateway")
        if not _NAME.fullmatch(self.name):
            raise RecordRefused(
                f"{self.name[:80]!a} cannot name a credential: use up to 128 letters, digits and . _ : @ / -"
            )
        if len(self.owner) > MAX_OWNER:
            raise RecordRefused(f"an owner has {len(self.owner)} characters; {MAX_OWNER} are allowed")

    @property
    def label(self) -> str:
        """What messages call it; without its owner."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it was read."""

    value: Mapping[str, Any] = field(repr=False)
    """A JSON object."""

    version: str
    """Another with each write."""

    expires_at: float | None = None
    """Unix seconds by the fleet's clock, from when on it is as if there were no record."""


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record as stores keep it: nothing in it is secret, and nothing can be changed in it unnoticed."""

    version: str
    expires_ms: int
    """Unix milliseconds; 0 for never."""

    key_id: str
    """Which key of the ring it is encrypted with."""

    box: str = field(repr=False)
    """Nonce, ciphertext and tag, base64."""

    def __str__(self) -> str:
        return f"{self.version}|{self.expires_ms}|{self.key_id}|{self.box}"

    @classmethod
    def parsed(cls, text: str, key: RecordKey) -> SealedRecord:
        """The reverse of `str`.

        Raises:
            Undecryptable: it was not written by a vault.
        """
        parts = text.split("|")
        if len(parts) != 4 or not parts[1].isdecimal():
            raise Undecryptable(f"{key.label} is not as the vault writes records: it was changed from outside")
        return cls(parts[0], int(parts[1]), parts[2], parts[3])

    def expired(self, now: float) -> bool:
        """Whether it counts no longer at this time, in Unix seconds."""
        return 0 < self.expires_ms <= now * 1000


class Store(Protocol):
    """Where sealed records are kept. Every method raises `StateUnavailable` when the store cannot be asked now."""

    async def read(self, key: RecordKey) -> SealedRecord | None:
        """One record, which may have expired."""
        ...

    async def write(self, key: RecordKey, record: SealedRecord, *, replacing: str | None) -> None:
        """Keep a record.

        Args:
            replacing: the version that must be there now; empty: none may be there; `None`: whatever is there.

        Raises:
            Conflict: another is there.
            RecordRefused: the owner has MAX_RECORDS others in that namespace.
        """
        ...

    async def delete(self, key: RecordKey) -> bool:
        """Remove a record; whether there was one that had not expired."""
        ...

    async def keys(self, namespace: str | None = None, owner: str | None = None) -> list[RecordKey]:
        """The keys of records that have not expired: of one namespace or all, of one owner or all."""
        ...
