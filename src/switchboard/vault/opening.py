"""Open the vault that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import structlog

from switchboard.audit import AuditLog
from switchboard.errors import ConfigurationError, VaultUnavailable
from switchboard.fleet import FleetLocks
from switchboard.state import State
from switchboard.vault.aws_store import AwsDocuments, aws_client
from switchboard.vault.azure_identity import AzureIdentity
from switchboard.vault.azure_store import AzureDocuments, Lock
from switchboard.vault.cipher import Cipher
from switchboard.vault.document_store import Documents, DocumentStore
from switchboard.vault.file_store import FileDocuments
from switchboard.vault.hashicorp_store import HashicorpDocuments
from switchboard.vault.location import Location
from switchboard.vault.records import Store
from switchboard.vault.redis_store import RedisStore
from switchboard.vault.vault import Vault

log = structlog.get_logger("switchboard.vault")


@dataclass(frozen=True)
class VaultSettings:
    """What the vault is told."""

    location: Location
    keys: Sequence[str] = field(repr=False)
    """The ring, the newest first."""
    advice: Sequence[str] = ()
    """What to warn of once the vault holds anything."""
    token: str = field(default="", repr=False)
    """For HashiCorp Vault."""
    token_file: Path | None = None
    """Where it stands instead; it is read each time."""
    namespace: str = ""
    azure: AzureIdentity = field(default_factory=AzureIdentity)


@asynccontextmanager
async def open_vault(
    settings: VaultSettings,
    state: State | None,
    audit: AuditLog,
    clock: Callable[[], float],
    *,
    checking: bool = True,
) -> AsyncIterator[Vault]:
    """The vault, for as long as the block runs.

    Args:
        state: the fleet's; without it only stores outside of it can be opened.
        clock: Unix seconds; the fleet's.
        checking: whether the keys must decrypt what is there.

    Raises:
        ConfigurationError: the store cannot be used as it is named, or what is in it was written with other keys.
        StateUnavailable: Redis cannot be asked now. That another store cannot be is in the log, and does no harm yet.
    """
    async with _store(settings, state, clock) as store:
        vault = Vault(store, Cipher(settings.keys), audit, clock, settings.advice)
        try:
            if checking:
                await vault.check_keys()
        except VaultUnavailable as error:
            vault.problem = str(error)
        for warning in vault.warnings():
            log.warning("vault.risk_found", risk=warning)
        yield vault


@asynccontextmanager
async def _store(settings: VaultSettings, state: State | None, clock: Callable[[], float]) -> AsyncIterator[Store]:
    where = settings.location
    if where.kind == "redis":
        if state is None:
            raise ConfigurationError("VAULT is redis, but REDIS_URL is not set: what is in memory cannot be asked for")
        yield RedisStore(state, clock)
        return
    async with httpx2.AsyncClient(trust_env=True) as http:
        documents = _documents(settings, http, state)
        try:
            yield DocumentStore(documents, clock)
        finally:
            if isinstance(documents, AwsDocuments):
                documents.close()


def _documents(settings: VaultSettings, http: httpx2.AsyncClient, state: State | None) -> Documents:
    where = settings.location
    if where.kind == "file":
        return FileDocuments(Path(where.target))
    if where.kind == "aws":
        return AwsDocuments(
            aws_client(where.options.get("region", ""), where.options.get("endpoint", "")), where.target
        )
    if where.kind == "azure":
        lock = _unlocked if state is None else _fleet_lock(state)
        return AzureDocuments(where.target, where.options["prefix"], http, settings.azure, lock)
    if not (settings.token or settings.token_file):
        raise ConfigurationError("VAULT is hashicorp:, but neither VAULT_TOKEN nor VAULT_TOKEN_FILE is set")
    return HashicorpDocuments(where.target, http, lambda: _token(settings), settings.namespace)


def _token(settings: VaultSettings) -> str:
    if settings.token_file is None:
        return settings.token
    try:
        return settings.token_file.read_text().strip()
    except (OSError, ValueError) as error:
        raise VaultUnavailable(f"VAULT_TOKEN_FILE cannot be read ({type(error).__name__})") from None


def _unlocked(_name: str) -> nullcontext[None]:
    return nullcontext()


def _fleet_lock(state: State) -> Lock:
    """Writers of one document take turns, on all workers."""
    locks = FleetLocks(state, "vault")
    return lambda name: locks.hold("vault", name)
