"""`user_oauth`: each person connects an account of their own at the server's OAuth provider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from switchboard.errors import CredentialUnavailable, NotConnected
from switchboard.identity import Caller
from switchboard.outbound_auth.accounts import OAuthAccounts, Status
from switchboard.outbound_auth.credentials import GATEWAY, OutboundCredentials
from switchboard.outbound_auth.token_set import TokenSet
from switchboard.vault import RecordKey, Vault

WANTED: Final = "scopes"
"""The name of a person's record of the scopes that the server asked for beyond the configured ones."""

MOST_SCOPES: Final = 50

_INSUFFICIENT: Final = re.compile(r'\berror="?insufficient_scope\b', re.IGNORECASE)
_SCOPE: Final = re.compile(r'\bscope="([^"]*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UserAccounts:
    """The access token of the person's account, with every request. Satisfies `OutboundCredentials`.

    Args:
        accounts: people's accounts, in the vault.
        itself: what the gateway's own requests carry.
        variable: of a child's environment that has the token, for a server that is started here.
    """

    accounts: OAuthAccounts = field(repr=False)
    wanted: WantedScopes = field(repr=False)
    itself: OutboundCredentials
    described: str
    """Equal for equal configurations; has no secret."""

    variable: str | None = None
    per_person: bool = True

    async def prepare(self, caller: Caller) -> None:
        """See whether the caller has an account that is good. Raises as `headers`."""
        await self.accounts.token(caller.principal.person)

    async def headers(self, person: str) -> Mapping[str, str]:
        """The token, renewed if it ends soon.

        Raises:
            NotConnected: the person has to connect.
            CredentialUnavailable: it cannot be renewed now.
        """
        if person == GATEWAY:
            return await self.itself.headers(person)
        return {"authorization": (await self.accounts.token(person)).authorization}

    async def environment(self, person: str) -> Mapping[str, str]:
        """The token, in its variable. Raises as `headers`."""
        if person == GATEWAY:
            return await self.itself.environment(person)
        return {self.variable: (await self.accounts.token(person)).access_token} if self.variable else {}

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """Renew what was refused; or note that the person has to allow more, who is asked before the next call."""
        if person == GATEWAY:
            return await self.itself.rejected(person, sent, status, www_authenticate)
        if _INSUFFICIENT.search(www_authenticate):
            await self._step_up(person, www_authenticate)
            return False
        if status != 401:
            return False
        refused = sent.get("authorization", "").removeprefix("Bearer ")
        try:
            tokens = await self.accounts.token(person, fresher_than=refused)
        except CredentialUnavailable:  # what it says is said by the next `prepare`, which can ask the person
            return False
        return tokens.access_token != refused

    async def _step_up(self, person: str, www_authenticate: str) -> None:
        """MCP 2025-11-25, basic/authorization, "Scope Challenge Handling"."""
        found = _SCOPE.search(www_authenticate)
        asked = tuple((found[1] if found else "").split())[:MOST_SCOPES]
        try:
            held = (await self.accounts.token(person)).scopes
        except NotConnected:
            return
        missing = [scope for scope in asked if scope not in held]
        if missing:  # else asking would change nothing
            await self.wanted.add(person, missing)
            name = self.accounts.name
            why = f"{name} wants you to allow more for this: {', '.join(missing)}. Connect again"
            await self.accounts.require_reauth(person, why)


@dataclass(frozen=True, slots=True)
class WantedScopes:
    """What a server asked people to allow beyond the configured scopes: a record of the vault each."""

    vault: Vault
    namespace: str

    async def of(self, person: str) -> tuple[str, ...]:
        """For one person."""
        record = await self.vault.get(RecordKey(self.namespace, WANTED, person), purpose="ask for what is needed")
        return tuple(record.value.get("scopes", ())) if record is not None else ()

    async def add(self, person: str, scopes: Sequence[str]) -> None:
        """From the next time on that the person connects."""
        wanted = tuple(dict.fromkeys((*await self.of(person), *scopes)))[-MOST_SCOPES:]
        key = RecordKey(self.namespace, WANTED, person)
        await self.vault.put(key, {"scopes": list(wanted)}, purpose="the server wants more to be allowed")


@dataclass(frozen=True, slots=True)
class SteppingUp:
    """Accounts whose people are also asked for what the server wanted meanwhile. Satisfies `Accounts`."""

    accounts: OAuthAccounts
    wanted: WantedScopes

    async def begin(self, person: str, *, redirect_uri: str, state: str | None = None) -> tuple[str, Mapping[str, Any]]:
        """As the accounts', with those scopes."""
        scopes = await self.wanted.of(person)
        return await self.accounts.begin(person, redirect_uri=redirect_uri, state=state, scopes=scopes)

    async def finish(self, person: str, params: Mapping[str, str], kept: Mapping[str, Any]) -> TokenSet:
        """As the accounts'."""
        return await self.accounts.finish(person, params, kept)

    async def revoke(self, person: str, *, who: str | None = None) -> str:
        """As the accounts'."""
        return await self.accounts.revoke(person, who=who)

    async def status(self, person: str) -> Status:
        """As the accounts'."""
        return await self.accounts.status(person)
