"""AES-256-GCM (NIST SP 800-38D) over the values of records, under a ring of keys: the newest encrypts, all decrypt.

Each encryption has a fresh random nonce of 96 bits, and authenticates the record's namespace, name, owner, version and
expiry with its value. Random nonces allow 2^32 encryptions under one key (§8.3).
"""

from __future__ import annotations

import base64
import json
import secrets
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from switchboard.keys import derive
from switchboard.vault.records import MAX_VALUE_BYTES, Record, RecordKey, RecordRefused, SealedRecord, Undecryptable

_NONCE: Final = 12
_TAG: Final = 16


class Cipher:
    """A ring of keys.

    Args:
        keys: of VAULT_KEYS, the newest first; each is text of 32 bytes or more, of which a key is derived.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("a vault needs at least one key")
        self._ciphers = {derive(key, "vault key id")[:12]: AESGCM(bytes.fromhex(derive(key, "vault"))) for key in keys}
        self.newest = next(iter(self._ciphers))
        """The id of the key that encrypts."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the newest first. An id says nothing of its key."""
        return tuple(self._ciphers)

    def seal(self, key: RecordKey, value: Mapping[str, Any], version: str, expires_ms: int) -> SealedRecord:
        """Encrypt a value with the newest key.

        Raises:
            RecordRefused: the value is no JSON object, or too large.
        """
        box = self.encrypt(_json(key, value), _bound(key, version, expires_ms))
        return SealedRecord(version, expires_ms, self.newest, box)

    def open(self, key: RecordKey, record: SealedRecord) -> Record:
        """Decrypt a record.

        Raises:
            Undecryptable: its key is not in the ring, or it was written for another place, or changed.
        """
        plain = self.decrypt(record.key_id, record.box, _bound(key, record.version, record.expires_ms), what=key.label)
        try:
            value = json.loads(plain)
        finally:
            wipe(plain)
        return Record(value, record.version, record.expires_ms / 1000 if record.expires_ms else None)

    def encrypt(self, plain: bytes, bound: bytes) -> str:
        """Nonce, ciphertext and tag in base64, under the newest key."""
        box = bytearray(_NONCE + len(plain) + _TAG)
        box[:_NONCE] = nonce = secrets.token_bytes(_NONCE)
        self._ciphers[self.newest].encrypt_into(nonce, plain, bound, memoryview(box)[_NONCE:])
        return base64.b64encode(box).decode()

    def decrypt(self, key_id: str, box: str, bound: bytes, *, what: str) -> bytearray:
        """What `encrypt` was given, in memory that the caller is to overwrite (`wipe`).

        Raises:
            Undecryptable: the key is not in the ring, or something was changed; the message calls it `what`.
        """
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Undecryptable(
                f"{what} is encrypted with a key ({key_id[:12]!a}) that is not in VAULT_KEYS, which has"
                f" {', '.join(self.key_ids)}: give every worker the same list, with the keys that were used before"
            )
        try:
            raw = base64.b64decode(box, validate=True)
            plain = bytearray(max(0, len(raw) - _NONCE - _TAG))
            cipher.decrypt_into(raw[:_NONCE], raw[_NONCE:], bound, plain)
        except (InvalidTag, NotBase64, ValueError):
            message = f"{what} does not decrypt: it was changed, or moved from where it had been written"
            raise Undecryptable(message) from None
        return plain


def wipe(plain: bytearray) -> None:
    """Overwrite what was in clear."""
    plain[:] = bytes(len(plain))


def _bound(key: RecordKey, version: str, expires_ms: int) -> bytes:
    place = ["switchboard vault record", key.namespace, key.name, key.owner, version, expires_ms]
    return json.dumps(place, separators=(",", ":")).encode()


def _json(key: RecordKey, value: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError):  # the error may quote the value
        raise RecordRefused(f"{key.label}: the value is not a JSON object") from None
    if len(text) > MAX_VALUE_BYTES:
        raise RecordRefused(f"{key.label}: the value has {len(text)} bytes as JSON; {MAX_VALUE_BYTES} are allowed")
    return text
