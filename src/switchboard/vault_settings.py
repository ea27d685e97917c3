"""The vault and the audit log as the settings have them: part of the composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final

from pydantic import SecretStr

from switchboard.audit import AuditLog, open_audit_log
from switchboard.audit.call_log import ALL, OFF, CallLog, NoCallLog, RedisCallLog
from switchboard.catalog.search import SEARCHER
from switchboard.config import Configuration, provider_name
from switchboard.errors import ConfigurationError
from switchboard.keys import derive
from switchboard.settings import Settings
from switchboard.state import State
from switchboard.state.clock import FleetClock
from switchboard.vault import Vault, VaultSettings, open_vault
from switchboard.vault.azure_identity import AzureIdentity
from switchboard.vault.location import location

NO_KEYS: Final = (
    "VAULT_KEYS is not set: who knows SECRET_KEY can decrypt the credentials in the vault. Set VAULT_KEYS, and run"
    " `switchboard vault rotate`"
)


def vault_settings(settings: Settings) -> VaultSettings:
    """What the vault is told. What was written before it had keys of its own is read by those made of SECRET_KEY.

    Raises:
        ConfigurationError: VAULT is not as it has to be.
    """
    try:
        where = location(settings.vault)
    except ValueError as error:
        raise ConfigurationError(f"VAULT is {settings.vault!r}: {error}") from None
    own = [key.get_secret_value() for key in settings.vault_keys]
    lasts = settings.redis_url is not None or settings.vault != "redis"
    return VaultSettings(
        location=where,
        keys=(*own, *(derive(key, "vault keys") for key in settings.key_ring)),
        advice=(NO_KEYS,) if lasts and not own else (),
        token=_clear(settings.vault_token),
        token_file=settings.vault_token_file,
        namespace=settings.vault_namespace,
        azure=AzureIdentity(
            tenant=settings.azure_tenant_id,
            client_id=settings.azure_client_id,
            client_secret=_clear(settings.azure_client_secret),
            token_file=settings.azure_federated_token_file,
            authority=settings.azure_authority_host,
        ),
    )


@asynccontextmanager
async def opened_vault(
    settings: Settings,
    state: State | None,
    writer: str,
    audit: AuditLog | None = None,
    *,
    checking: bool = True,
) -> AsyncIterator[Vault]:
    """The vault, with the audit log that it writes to, for as long as the block runs.

    Args:
        state: the fleet's; a command may go without, where the store is not Redis, and is then not audited.
        writer: this process, for the audit log.
        audit: the audit log, where the process has it open.
        checking: as for `open_vault`.

    Raises:
        ConfigurationError, StateUnavailable: see `open_vault`.
    """
    told, clock = vault_settings(settings), state.clock if state else FleetClock()
    async with (
        nullcontext(audit) if audit is not None else opened_audit_log(settings, state, writer) as log,
        open_vault(told, state, log, clock, checking=checking) as vault,
    ):
        yield vault


def opened_audit_log(settings: Settings, state: State | None, writer: str) -> AbstractAsyncContextManager[AuditLog]:
    """The audit log for as long as the block runs; see `open_audit_log`."""
    bounds = {"entries": settings.audit_entries, "days": settings.audit_days}
    return open_audit_log(state, settings.key_ring, writer, **bounds)


@asynccontextmanager
async def opened_call_log(settings: Settings, state: State, writer: str) -> AsyncIterator[CallLog]:
    """The log of calls for as long as the block runs; none where AUDIT_ENTRIES is 0."""
    if not settings.audit_entries:
        yield NoCallLog()
        return
    usual = rate(settings.audit_calls)
    bounds = {"entries": settings.audit_call_entries, "days": settings.audit_days}
    calls = RedisCallLog(state, settings.key_ring, writer, usual=usual, **bounds)
    async with calls.running():
        yield calls


def call_rates(configuration: Configuration) -> dict[str, int]:
    """Of the plugins and servers that say so, one of how many calls is audited; the gateway's own tools never are."""
    said = {
        **{name: each.audit for name, each in configuration.plugins.items()},
        **{provider_name(name): each.audit for name, each in configuration.servers.items()},
    }
    return {SEARCHER: OFF, **{name: rate(each) for name, each in said.items() if each is not None}}


def rate(said: str | int) -> int:
    """`all`, `off` or N as one of how many."""
    return {"all": ALL, "off": OFF}[said] if isinstance(said, str) else said


def _clear(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
