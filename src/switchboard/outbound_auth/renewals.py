"""Renewing tokens: once for all calls that wait for them, on whichever workers of the fleet.

A refresh token may be good for one use, and a provider that sees it twice ends all that the person allowed. So a
renewal is done under a lock of the fleet, in a task of its own: whoever waits for it may leave, and a worker that ends
waits for it. What the provider answered is stored in place of the record that it was made from, and tried again while
the vault is away. A worker that is killed holds the lock until its lease ends; another goes on then, with what is
stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Final

import structlog

from switchboard.aio import Start, background
from switchboard.errors import CredentialUnavailable, NotConnected, StateUnavailable, SwitchboardError
from switchboard.fleet import FleetLocks
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.provider_errors import ProviderRefused
from switchboard.outbound_auth.token_set import TokenSet
from switchboard.vault import Conflict, Record, RecordKey, RecordRefused, Undecryptable, Vault

RECORD: Final = "oauth"
"""The name of a person's tokens among their records of a namespace."""

PURPOSE: Final = "renew tokens"

STORE_FOR_S: Final = 60.0
"""How long it is tried to store what a provider answered."""

STORE_PAUSE_S: Final = 0.25

WAIT_S: Final = 20.0
"""How long a call waits for a renewal."""

LEAVE_S: Final = 10.0
"""How long a worker that ends waits for renewals that are under way."""

AGAIN: Final = 3
"""How often a renewal begins again since somebody else changed the record meanwhile."""

GONE: Final = frozenset(
    {"invalid_grant", "bad_refresh_token", "interaction_required", "login_required", "consent_required"}
)
"""With these errors a provider says that what the person allowed is good no more."""

log = structlog.get_logger("switchboard.outbound_auth")


@dataclass(frozen=True, slots=True)
class Account:
    """One person's account: where its tokens are, and what its record says."""

    client: OAuthClient
    key: RecordKey
    person: str
    name: str
    clock: Callable[[], float]
    server: str = ""
    """The origin of the backend that the tokens go to."""

    async def record(self, vault: Vault, purpose: str) -> Record | None:
        """What the vault has.

        Raises:
            CredentialUnavailable: it cannot be decrypted.
        """
        try:
            return await vault.get(self.key, purpose=purpose)
        except Undecryptable as error:
            raise CredentialUnavailable(
                f"What you allowed {self.name} cannot be read: its operator has to check VAULT_KEYS. Connect again if"
                " the keys are lost"
            ) from error

    def tokens(self, record: Record | None) -> TokenSet:
        """The tokens of a record.

        Raises:
            NotConnected: there are none.
        """
        if record is None:
            raise NotConnected(self.person, self.name, f"You are not connected to {self.name} yet")
        if "reconnect" in record.value:
            raise NotConnected(self.person, self.name, str(record.value["reconnect"]))
        tokens = TokenSet.of_record(record.value)
        if tokens.server != self.server:  # the name may be that of another server by now
            why = f"{self.name} is at {self.server or 'no address'} now, and was connected for {tokens.server}"
            raise NotConnected(self.person, self.name, f"{why}: connect again")
        return tokens

    def is_stale(self, tokens: TokenSet, refused: str | None) -> bool:
        """Whether they have to be renewed before they are used; `refused` is an access token that was."""
        return tokens.access_token == refused or tokens.ends_soon(self.clock())


class Renewals:
    """The renewals of one worker. Use `running`."""

    def __init__(self, vault: Vault, locks: FleetLocks) -> None:
        self._vault = vault
        self._locks = locks
        self._under_way: dict[RecordKey, asyncio.Future[TokenSet]] = {}
        self._start: Start | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Renewals]:
        """Renew for as long as the context is open; at its end, what is under way is finished first."""
        async with background() as self._start:
            try:
                yield self
            finally:
                self._start = None
                if under_way := list(self._under_way.values()):
                    await asyncio.wait(under_way, timeout=LEAVE_S)

    async def renewed(self, account: Account, refused: str | None) -> TokenSet:
        """New tokens in place of stale ones; calls that want the same wait for the same renewal.

        Raises:
            NotConnected: the provider does not renew them any more.
            CredentialUnavailable: it cannot be done now.
        """
        found = self._under_way.get(account.key) or self._begin(account, refused)
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.shield(found)
        except TimeoutError:
            raise CredentialUnavailable(
                f"{account.name} is not ready: what you allowed is still being renewed; try again in a moment",
                retry=True,
            ) from None

    def _begin(self, account: Account, refused: str | None) -> asyncio.Future[TokenSet]:
        if self._start is None:
            raise CredentialUnavailable("this worker ends; try again in a moment", retry=True)
        found: asyncio.Future[TokenSet] = asyncio.get_running_loop().create_future()
        self._under_way[account.key] = found
        Context().run(self._start, self._run(account, refused, found))  # in the context of no request
        return found

    async def _run(self, account: Account, refused: str | None, found: asyncio.Future[TokenSet]) -> None:
        try:
            found.set_result(await self._renew(account, refused))
        except Exception as error:  # whatever it is belongs to those who wait, not to this worker
            if not isinstance(error, SwitchboardError):
                log.exception("tokens.renewal_failed", account=account.name)
            found.set_exception(error)
        finally:
            del self._under_way[account.key]
            if not found.done():
                found.set_exception(CredentialUnavailable("this worker ends; try again in a moment", retry=True))
            if not found.cancelled():
                found.exception()  # retrieved here: perhaps nobody waits any more

    async def _renew(self, account: Account, refused: str | None) -> TokenSet:
        await account.client.endpoints()  # before the lock: it may take longer than the lease of one who dies
        async with self._locks.hold(account.key.namespace, RECORD, account.person):
            for _ in range(AGAIN):
                record = await account.record(self._vault, PURPOSE)
                tokens = account.tokens(record)
                if record is None or not account.is_stale(tokens, refused):
                    return tokens  # another worker was here
                try:
                    return await self._exchange(account, record, tokens)
                except Conflict:
                    continue
        raise CredentialUnavailable(f"What you allowed {account.name} changes all the time; try again", retry=True)

    async def _exchange(self, account: Account, record: Record, tokens: TokenSet) -> TokenSet:
        """Ask the provider, and store its answer in place of the record.

        Raises:
            Conflict: the record was changed by another.
        """
        provider = account.client.provider
        if not tokens.refresh_token:
            why = f"What you allowed {account.name} has ended, and {provider.name} does not renew it: connect again"
            raise await self._disconnected(account, record, why)
        try:
            renewed = await account.client.by_refresh_token(tokens)
        except ProviderRefused as error:
            unknown = error.code == "invalid_client" and tokens.client_id != provider.client_id
            if unknown:
                await account.client.forget_registration(tokens.client_id)
            elif error.code not in GONE:
                raise
            raise await self._disconnected(account, record, error.reason) from error
        await self._stored(account, record, renewed)
        return renewed

    async def _disconnected(self, account: Account, record: Record, why: str) -> NotConnected:
        """The person has to connect again: so that nobody asks the provider in vain, the record says so."""
        await self._vault.put(account.key, {"reconnect": why}, purpose="it is good no more", replacing=record.version)
        return NotConnected(account.person, account.name, why)

    async def _stored(self, account: Account, record: Record, renewed: TokenSet) -> None:
        """Keep what the provider answered: the refresh token before may be good for nothing now."""
        deadline = asyncio.get_running_loop().time() + STORE_FOR_S
        while True:
            try:
                await self._vault.put(account.key, renewed.as_record(), purpose=PURPOSE, replacing=record.version)
                return
            except StateUnavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(STORE_PAUSE_S)
            except RecordRefused as error:
                raise CredentialUnavailable(
                    f"What {account.client.provider.name} gave cannot be kept: {error}"
                ) from error
            except Conflict:
                await self._replaced(account, renewed)
                raise

    async def _replaced(self, account: Account, renewed: TokenSet) -> None:
        """Somebody ended the account while it was renewed: what came of it must not live on at the provider."""
        record = await self._vault.get(account.key, purpose=PURPOSE)
        if record is None or "reconnect" in record.value:
            try:
                await account.client.revoke(renewed)
            except CredentialUnavailable as error:
                log.warning("account.not_revoked", account=account.name, error=error.reason)
