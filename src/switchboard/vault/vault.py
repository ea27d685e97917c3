"""Credentials, encrypted, each bound to where it stands; every access is audited.

Nothing is cached: what is asked for is read from the store each time, so a credential that was revoked is gone for the
next call on every worker.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from switchboard.audit import AuditLog
from switchboard.errors import ConfigurationError, StateUnavailable
from switchboard.vault.cipher import Cipher
from switchboard.vault.records import Conflict, Record, RecordKey, RecordRefused, Store, Undecryptable

KEY_CHECK: Final = RecordKey("gateway", ".key-check")
"""A record of nothing: whoever cannot decrypt it has other keys than who wrote to this vault before."""

_WRONG_KEYS: Final = (
    "VAULT_KEYS cannot decrypt what the vault holds: give every worker the same list, with the keys that were used"
    " before. If those are lost, `switchboard vault rotate --delete-undecryptable` removes what nobody can read"
)

log = structlog.get_logger("switchboard.vault")


class Vault:
    """The records of one store under one ring of keys.

    Args:
        clock: Unix seconds; the fleet's.
    """

    def __init__(self, store: Store, cipher: Cipher, audit: AuditLog, clock: Callable[[], float]) -> None:
        self.store = store
        self.cipher = cipher
        self._audit = audit
        self._clock = clock

    async def get(self, key: RecordKey, *, purpose: str, who: str | None = None) -> Record | None:
        """One record; `None` when there is none, or it has expired.

        Args:
            purpose: why it is read, for the audit log.
            who: reads it; the owner, or the gateway for what nobody owns, when not said.

        Raises:
            StateUnavailable: the store cannot be asked now.
            Undecryptable: no key decrypts it.
        """
        with _Audited(self._audit, "credential.read", key, purpose, who) as said:
            sealed = await self.store.read(key)
            if sealed is None or sealed.expired(self._clock()):
                said.outcome = "absent"
                return None
            return self.cipher.open(key, sealed)

    async def put(
        self,
        key: RecordKey,
        value: Mapping[str, Any],
        *,
        purpose: str,
        expires_at: float | None = None,
        replacing: str | None = None,
        who: str | None = None,
    ) -> str:
        """Keep a value; its new version.

        Args:
            value: a JSON object, of MAX_VALUE_BYTES at most.
            purpose, who: as for `get`.
            expires_at: Unix seconds by the fleet's clock, when it ends; kept for ever when not said.
            replacing: the version that must be there; empty: none may be there; `None`: whatever is there.

        Raises:
            Conflict: another version is there.
            RecordRefused: the value is no JSON object or too large, or the owner has MAX_RECORDS in that namespace.
            StateUnavailable: the store cannot be asked now.
            ConfigurationError: this vault was written with keys that are not in the ring.
        """
        with _Audited(self._audit, "credential.written", key, purpose, who):
            version = secrets.token_hex(8)
            sealed = self.cipher.seal(key, value, version, _milliseconds(expires_at))
            await self._prove_keys()
            await self.store.write(key, sealed, replacing=replacing)
            return version

    async def delete(self, key: RecordKey, *, purpose: str, who: str | None = None) -> bool:
        """Remove a record; whether there was one.

        Args:
            purpose, who: as for `get`.

        Raises:
            StateUnavailable: the store cannot be asked now.
        """
        with _Audited(self._audit, "credential.deleted", key, purpose, who) as said:
            removed = await self.store.delete(key)
            said.outcome = "ok" if removed else "absent"
            return removed

    async def names(self, namespace: str, owner: str = "") -> list[str]:
        """The names of the records that an owner has in a namespace, sorted."""
        return sorted(key.name for key in await self.store.keys(namespace, owner) if key != KEY_CHECK)

    async def owners(self, namespace: str) -> list[str]:
        """Who has records in a namespace, sorted; the empty one is the gateway."""
        return sorted({key.owner for key in await self.store.keys(namespace) if key != KEY_CHECK})

    async def check_keys(self) -> bool:
        """See that the ring decrypts what was written before; whether anything was.

        Raises:
            ConfigurationError: it does not.
            StateUnavailable: the store cannot be asked now.
        """
        found = await self.store.read(KEY_CHECK)
        if found is None:
            return False
        try:
            self.cipher.open(KEY_CHECK, found)
        except Undecryptable as error:
            raise ConfigurationError(f"{_WRONG_KEYS} ({error})") from error
        return True

    async def _prove_keys(self) -> None:
        """Before anything is written: as `check_keys`, and leave the proof for the next."""
        while not await self.check_keys():
            proof = self.cipher.seal(KEY_CHECK, {}, secrets.token_hex(8), 0)
            try:
                await self.store.write(KEY_CHECK, proof, replacing="")
            except Conflict:
                continue
            return


class _Audited:
    """An access: its outcome is noted when it ends."""

    __slots__ = ("_audit", "_event", "_key", "_purpose", "_who", "outcome")

    def __init__(self, audit: AuditLog, event: str, key: RecordKey, purpose: str, who: str | None) -> None:
        self._audit = audit
        self._event = event
        self._key = key
        self._purpose = purpose
        self._who = who
        self.outcome = "ok"

    def __enter__(self) -> _Audited:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        key = self._key
        if error is not None:
            self.outcome = next((said for type_, said in _OUTCOMES if isinstance(error, type_)), "failed")
            if isinstance(error, Undecryptable):
                log.warning("credential.undecryptable", error=str(error))
        owner = key.owner or "gateway"
        who = self._who or owner
        self._audit.record(
            self._event,
            who=who,
            what=key.label,
            outcome=self.outcome,
            why=self._purpose,
            owner="" if who == owner else owner,
        )


_OUTCOMES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (Undecryptable, "undecryptable"),
    (Conflict, "conflict"),
    (RecordRefused, "refused"),
    (ConfigurationError, "wrong keys"),
    (StateUnavailable, "unavailable"),
    (asyncio.CancelledError, "cancelled"),
)


def _milliseconds(expires_at: float | None) -> int:
    """As records keep it: 0 is for ever."""
    return 0 if expires_at is None else max(1, int(expires_at * 1000))
