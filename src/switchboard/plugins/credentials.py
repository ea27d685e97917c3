"""A plugin's credentials: records of the vault in its own namespace, and people's accounts at its OAuth provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from switchboard.outbound_auth.connectables import AccountStatus
from switchboard.plugins.api import TokenInfo
from switchboard.vault import RecordKey, Vault

VALUE: Final = "value"
"""The one member of a credential's record."""

_STATES: Final[dict[str, Literal["connected", "expired", "missing"]]] = {
    "connected": "connected",
    "expired": "connected",  # the next use refreshes it
    "reauthorization_needed": "expired",
    "not_connected": "missing",
}


def namespace(plugin: str) -> str:
    """Where the vault keeps what a plugin has."""
    return f"plugin:{plugin}"


class TokenAccounts(Protocol):
    """People's accounts at one OAuth provider, as far as a plugin uses them."""

    async def token(self, person: str) -> Any:
        """A token set that has an `access_token`. Raises NotConnected and CredentialUnavailable."""
        ...

    async def status(self, person: str) -> AccountStatus:
        """How the account stands."""
        ...

    async def require_reauth(self, person: str) -> None:
        """Have the person connect again before the next call."""
        ...


@dataclass(frozen=True, slots=True)
class VaultCredentials:
    """The credentials of one plugin. Satisfies `switchboard.plugins.api.Credentials`."""

    plugin: str
    vault: Vault
    accounts: TokenAccounts | None = None
    """Of a plugin whose auth requirement is of the kind oauth2."""

    async def get(self, name: str, user: str) -> str | None:
        """A credential, read anew each time: one that was deleted is gone for the next call."""
        record = await self.vault.get(self._key(name, user), purpose=self._purpose)
        return None if record is None else str(record.value[VALUE])

    async def put(self, name: str, value: str, user: str) -> None:
        """Keep a credential."""
        await self.vault.put(self._key(name, user), {VALUE: value}, purpose=self._purpose)

    async def delete(self, name: str, user: str) -> bool:
        """Delete a credential; whether there was one."""
        return await self.vault.delete(self._key(name, user), purpose=self._purpose)

    async def names(self, user: str) -> list[str]:
        """What there is."""
        return await self.vault.names(namespace(self.plugin), user)

    async def access_token(self, user: str) -> str:
        """A token of the person. Raises NotConnected and CredentialUnavailable."""
        return str((await self._accounts.token(user)).access_token)

    async def token_info(self, user: str) -> TokenInfo:
        """How the person's account stands."""
        status = await self._accounts.status(user)
        return TokenInfo(_STATES[status.state], tuple(status.scopes), status.expires_at)

    async def forget_token(self, user: str) -> None:
        """Have the person sign in again before the next call."""
        await self._accounts.require_reauth(user)

    @property
    def _accounts(self) -> TokenAccounts:
        if self.accounts is None:
            raise TypeError(f"the plugin {self.plugin} has no auth requirement of the kind oauth2")
        return self.accounts

    @property
    def _purpose(self) -> str:
        return f"used by the plugin {self.plugin}"

    def _key(self, name: str, user: str) -> RecordKey:
        return RecordKey(namespace(self.plugin), name, user)
