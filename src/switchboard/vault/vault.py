"""Credentials, encrypted, each bound to where it stands; every access is audited.

Nothing is cached: what is asked for is read from the store each time, so a credential that was revoked is gone for the
next call on every worker.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog

from switchboard.audit import AuditLog
from switchboard.errors import ConfigurationError, StateUnavailable, VaultUnavailable
from switchboard.telemetry.metrics import VAULT_OPERATIONS
from switchboard.vault.cipher import Cipher
from switchboard.vault.records import Conflict, Record, RecordKey, RecordRefused, Store, Undecryptable

KEY_CHECK: Final = RecordKey("gateway", ".key-check")
"""A record of nothing: whoever cannot decrypt it has other keys than who wrote to this vault before."""

CHECK_S: Final = 1.0
PROOFS: Final = 3

_WRONG_KEYS: Final = (
    "VAULT_KEYS cannot decrypt what the vault holds: give every worker the same list, with the keys that were used"
    " before. If those are lost, `switchboard vault rotate --delete-undecryptable` removes what nobody can read"
)

_NOT_ROTATED: Final = (
    "Credentials are encrypted with an older key of VAULT_KEYS: run `switchboard vault rotate`, then remove that key"
)

log = structlog.get_logger("switchboard.vault")


class Vault:
    """The records of one store under one ring of keys.

    Args:
        clock: Unix seconds; the fleet's.
        advice: what to warn of once the vault holds anything.
    """

    def __init__(
        self, store: Store, cipher: Cipher, audit: AuditLog, clock: Callable[[], float], advice: Sequence[str] = ()
    ) -> None:
        self.store = store
        self.cipher = cipher
        self.problem = ""
        """Why the store could not be asked last; empty when it could."""
        self.audit = audit
        self._clock = clock
        self._advice = advice
        self._checked: str | None = None
        """The key of what `check_keys` read last."""

    async def get(self, key: RecordKey, *, purpose: str, who: str | None = None) -> Record | None:
        """One record; `None` when there is none, or it has expired.

        Args:
            purpose: why it is read, for the audit log.
            who: reads it; the owner, or the gateway for what nobody owns, when not said.

        Raises:
            StateUnavailable: the store cannot be asked now.
            Undecryptable: no key decrypts it.
        """
        with _Audited(self, "credential.read", key, purpose, who) as said:
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
        with _Audited(self, "credential.written", key, purpose, who):
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
        with _Audited(self, "credential.deleted", key, purpose, who) as said:
            removed = await self.store.delete(key)
            said.outcome = "ok" if removed else "absent"
            return removed

    async def reencrypt(self, key: RecordKey, *, purpose: str, who: str) -> bool:
        """Encrypt a record with the newest key, if it is not; whether it was not. Its version stays.

        Who writes it meanwhile wins, and whoever replaces the version that they have read can still do so.

        Raises:
            StateUnavailable: the store cannot be asked now.
            Undecryptable: no key decrypts it.
        """
        while True:
            sealed = await self.store.read(key)
            if sealed is None or sealed.key_id == self.cipher.newest:
                return False
            with _Audited(self, "credential.reencrypted", key, purpose, who):
                value = self.cipher.open(key, sealed).value
                again = self.cipher.seal(key, value, sealed.version, sealed.expires_ms)
                try:
                    await self.store.write(key, again, replacing=sealed.version)
                except Conflict:
                    continue  # it was written or deleted meanwhile, or has expired: look again
                return True

    async def names(self, namespace: str, owner: str = "") -> list[str]:
        """The names of the records that an owner has in a namespace, sorted."""
        return sorted(key.name for key in await self.store.keys(namespace, owner) if key != KEY_CHECK)

    async def owners(self, namespace: str) -> list[str]:
        """Who has records in a namespace, sorted; the empty one is the gateway."""
        return sorted({key.owner for key in await self.store.keys(namespace) if key != KEY_CHECK})

    def now(self) -> float:
        """Unix seconds by the fleet's clock, which records expire by."""
        return self._clock()

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
        self._checked = found.key_id
        return True

    async def look(self) -> None:
        """Ask again, for CHECK_S at most, if the store could not be asked last, or older keys were in use."""
        if not (self.problem or self._outdated):
            return
        try:
            async with asyncio.timeout(CHECK_S):
                await self.check_keys()
            self.problem = ""
        except (ConfigurationError, StateUnavailable, TimeoutError) as error:
            self.problem = str(error) or "it does not answer"

    @property
    def _outdated(self) -> bool:
        return self._checked not in (None, self.cipher.newest)

    def warnings(self) -> Iterator[str]:
        """What to warn of."""
        if self.problem:
            yield f"The vault cannot be asked for credentials: {self.problem}"
        if self._checked is None:
            return
        yield from self._advice
        if self._outdated:
            yield _NOT_ROTATED

    async def _prove_keys(self) -> None:
        """Before anything is written: as `check_keys`, and leave the proof for the next."""
        for _ in range(PROOFS):
            if await self.check_keys():
                return
            proof = self.cipher.seal(KEY_CHECK, {}, secrets.token_hex(8), 0)
            try:
                await self.store.write(KEY_CHECK, proof, replacing="")
            except Conflict:  # another worker left it meanwhile
                continue
            self._checked = self.cipher.newest
            return
        raise VaultUnavailable("The store of the vault says that a record is there, and shows none: try again later")


class _Audited:
    """An access: its outcome is noted when it ends."""

    __slots__ = ("_event", "_key", "_purpose", "_vault", "_who", "outcome")

    def __init__(self, vault: Vault, event: str, key: RecordKey, purpose: str, who: str | None) -> None:
        self._vault = vault
        self._event = event
        self._key = key
        self._purpose = purpose
        self._who = who
        self.outcome = "ok"

    def __enter__(self) -> _Audited:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        key = self._key
        self._vault.problem = str(error) if isinstance(error, VaultUnavailable) else ""
        if error is not None:
            self.outcome = next((said for type_, said in _OUTCOMES if isinstance(error, type_)), "failed")
            if isinstance(error, Undecryptable):
                log.warning("credential.undecryptable", error=str(error))
        VAULT_OPERATIONS.add(self._event.partition(".")[2], self.outcome)
        owner = key.owner or "gateway"
        who = self._who or owner
        self._vault.audit.record(
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
