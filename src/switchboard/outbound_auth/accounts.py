"""People's accounts at the OAuth provider of one backend or plugin: connected once, renewed for ever, ended at once.

A person's tokens are one record of the vault, read for each call: what is revoked is refused by the next call on every
worker. They are renewed by one worker for the fleet (`renewals`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import structlog

from switchboard.errors import ConfigurationError, CredentialUnavailable
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.provider_errors import ProviderRefused
from switchboard.outbound_auth.renewals import AGAIN, RECORD, Account, Renewals
from switchboard.outbound_auth.token_set import TokenSet, missing_scopes
from switchboard.vault import Conflict, Record, RecordKey, RecordRefused, Undecryptable, Vault

JUST_RENEWED_S: Final = 10.0
"""A token that was renewed more lately and is refused all the same is not renewed again: it would be refused, too."""

_REVOKE: Final = "revoke an account"

log = structlog.get_logger("switchboard.outbound_auth")


@dataclass(frozen=True, slots=True)
class Status:
    """How a person's account stands; nothing in it is secret."""

    state: Literal["connected", "expired", "reauthorization_needed", "not_connected"]
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    """When the access token ends, which is renewed before if the provider lets it."""

    missing: tuple[str, ...] = ()
    """Scopes that are asked for, and are not granted any more."""

    reason: str = ""
    """Why the person has to connect again."""


class OAuthAccounts:
    """The accounts of one backend or plugin.

    Args:
        namespace: `server:NAME` or `plugin:NAME`.
        name: what its connect page is found by, and what people call it.
        clock: Unix seconds; the fleet's.
        server: the origin of the backend, which people allow something to: it is sent to no other.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        client: OAuthClient,
        vault: Vault,
        renewals: Renewals,
        clock: Callable[[], float],
        server: str = "",
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.client = client
        self._vault = vault
        self._renewals = renewals
        self._clock = clock
        self._server = server

    async def begin(
        self, person: str, *, redirect_uri: str, state: str | None = None, scopes: Sequence[str] = ()
    ) -> tuple[str, Mapping[str, Any]]:
        """Where to send the person's browser, and what to keep until it comes back: secret, JSON, with its `state`.

        Args:
            scopes: beyond those that are always asked for.

        Raises:
            CredentialUnavailable: the provider cannot be used now.
        """
        url, kept = await self.client.authorization(redirect_uri, state=state, scopes=scopes)
        return url, kept | {"person": person}

    async def finish(self, person: str, params: Mapping[str, str], kept: Mapping[str, Any]) -> TokenSet:
        """Store what the provider gives for the parameters that the person's browser came back with.

        Args:
            kept: by `begin`; it is the caller's part that it can be taken once, by the browser that it was made for.

        Raises:
            CredentialUnavailable: nothing was stored.
        """
        if person != kept["person"]:
            raise CredentialUnavailable("Somebody else began to connect; start again from where you connect")
        provider = self.client.provider
        try:
            tokens, _ = await self.client.by_callback(params, kept)
        except ProviderRefused as error:
            if error.code == "invalid_client":
                await self.client.forget_registration(kept["client_id"])
            raise
        if missing := missing_scopes(tokens, provider.scopes):
            await self._end_at_provider(tokens)
            raise CredentialUnavailable(
                f"{provider.name} granted less than is needed: {', '.join(missing)} is missing. Connect again, and"
                " allow everything that is asked for"
            )
        tokens = replace(tokens, server=self._server)
        try:
            await self._vault.put(self._key(person), tokens.as_record(), purpose="connected by the person")
        except RecordRefused as error:
            raise CredentialUnavailable(f"What {provider.name} gave cannot be kept: {error}") from error
        return tokens

    async def token(self, person: str, *, fresher_than: str | None = None) -> TokenSet:
        """The person's tokens, renewed if the access token ends soon, or is the one that was refused.

        Args:
            fresher_than: an access token that the backend did not take.

        Raises:
            NotConnected: the person has to connect, or to connect again.
            CredentialUnavailable: they cannot be renewed now.
            StateUnavailable: the vault cannot be asked.
        """
        account = self._account(person)
        tokens = account.tokens(await account.record(self._vault, "call in the person's name"))
        if not account.is_stale(tokens, fresher_than):
            return tokens
        if tokens.renewed and tokens.access_token == fresher_than and self._clock() < tokens.issued_at + JUST_RENEWED_S:
            raise CredentialUnavailable(
                f"{self.name} refuses what {self.client.provider.name} has just issued: its operator has to check"
                " audience and scopes",
                retry=True,
            )
        return await self._renewals.renewed(account, fresher_than)

    async def status(self, person: str) -> Status:
        """How the person's account stands."""
        account = self._account(person)
        try:
            record = await account.record(self._vault, "show the state of an account")
            if record is None:
                return Status("not_connected")
            tokens = account.tokens(record)
        except CredentialUnavailable as error:
            return Status("reauthorization_needed", reason=error.reason)
        ended = tokens.expires_at is not None and tokens.expires_at <= self._clock() and not tokens.refresh_token
        missing = missing_scopes(tokens, self.client.provider.scopes)
        return Status("expired" if ended else "connected", tokens.scopes, tokens.expires_at, missing)

    async def revoke(self, person: str, *, who: str | None = None) -> str:
        """End the account here at once, and at the provider; what the person should know of the latter, or nothing.

        Args:
            who: ends it, where it is not the person.
        """
        account = self._account(person)
        record = await self._ended(account, who)
        purpose = "revoked by the person" if who is None else "revoked by an operator"
        await self._vault.delete(account.key, purpose=purpose, who=who)
        if record is None or "reconnect" in record.value:
            return ""
        return await self._end_at_provider(TokenSet.of_record(record.value))

    async def _ended(self, account: Account, who: str | None) -> Record | None:
        """The newest record, in whose place nobody can put renewed tokens any more."""
        record = None
        for _ in range(AGAIN):
            try:
                record = await self._vault.get(account.key, purpose=_REVOKE, who=who)
                if record is None:
                    break
                ended = {"reconnect": f"You are not connected to {self.name} any more"}
                await self._vault.put(account.key, ended, purpose=_REVOKE, replacing=record.version, who=who)
                break
            except Conflict:  # renewed meanwhile: what came of it is to be ended
                continue
            except (Undecryptable, ConfigurationError):  # without the keys it is only deleted
                break
        return record

    async def require_reauth(self, person: str, reason: str = "") -> None:
        """Have the person connect again before the next call. Nothing changes for whoever is not connected."""
        account = self._account(person)
        if await self._vault.get(account.key, purpose="require a person to connect again") is not None:
            value = {"reconnect": reason or f"{self.name} asks you to connect again"}
            await self._vault.put(account.key, value, purpose="the person has to connect again")

    def _account(self, person: str) -> Account:
        return Account(self.client, self._key(person), person, self.name, self._clock, self._server)

    def _key(self, person: str) -> RecordKey:
        return RecordKey(self.namespace, RECORD, person)

    async def _end_at_provider(self, tokens: TokenSet) -> str:
        name = self.client.provider.name
        try:
            if await self.client.revoke(tokens):
                return ""
        except CredentialUnavailable as error:
            log.warning("account.not_revoked", account=self.name, error=error.reason)
            return f"{error.reason}. End what you allowed in your settings there, too"
        return f"{name} cannot be told by this gateway: end what you allowed in your settings there, too"
