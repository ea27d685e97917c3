"""Credentials of plugins, of backends and of the gateway, encrypted, each bound to its namespace, name and owner.

Owns the records, the ring of keys, and the stores: Redis, and others. Knows nothing of what a credential is for.

May import: audit, identity, fleet, state, leaves.
Never imports: outbound_auth, plugins, backends, http, settings.
"""

from switchboard.vault.cipher import Cipher
from switchboard.vault.opening import VaultSettings, open_vault
from switchboard.vault.records import (
    Conflict,
    Record,
    RecordKey,
    RecordRefused,
    SealedRecord,
    Store,
    Undecryptable,
)
from switchboard.vault.redis_store import RedisStore
from switchboard.vault.vault import Vault

__all__ = [
    "Cipher",
    "Conflict",
    "Record",
    "RecordKey",
    "RecordRefused",
    "RedisStore",
    "SealedRecord",
    "Store",
    "Undecryptable",
    "Vault",
    "VaultSettings",
    "open_vault",
]
