"""`service` as an OAuth client: a token of the gateway's own, got by client credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from switchboard.identity import Caller
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.token_set import TokenSet

JUST_ISSUED_S: Final = 10.0
"""A token that is as new as this and is refused is not got anew: the next would be refused, too."""


@dataclass
class ClientCredentials:
    """One token for all requests of this worker, until it ends or is refused. Satisfies `OutboundCredentials`.

    Args:
        client: of the server's authorization server.
        variable: of a child's environment that has the token, for a server that is started here.
        clock: the fleet's; seconds.
    """

    client: OAuthClient = field(repr=False)
    described: str
    """Equal for equal configurations; has no secret."""

    variable: str | None = None
    clock: Callable[[], float] = field(default=time.time, repr=False)
    per_person: bool = False
    _tokens: TokenSet | None = field(default=None, repr=False)
    _getting: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def prepare(self, caller: Caller) -> None:
        """It is got when it is needed."""

    async def headers(self, person: str) -> Mapping[str, str]:
        """The token, got if there is none that lasts.

        Raises:
            CredentialUnavailable: the authorization server does not give one.
        """
        return {"authorization": (await self._token()).authorization}

    async def environment(self, person: str) -> Mapping[str, str]:
        """The token, in its variable. Raises as `headers`."""
        return {self.variable: (await self._token()).access_token} if self.variable else {}

    async def rejected(self, person: str, sent: Mapping[str, str], status: int, www_authenticate: str) -> bool:
        """Whether there is, or can be, another token than the one that was refused."""
        known = self._tokens
        if known is not None and known.authorization == sent.get("authorization"):
            if status != 401 or self.clock() < known.issued_at + JUST_ISSUED_S:
                return False
            self._tokens = None
        return True

    async def _token(self) -> TokenSet:
        known = self._tokens
        if known is not None and not known.ends_soon(self.clock()):
            return known
        async with self._getting:
            if self._tokens is None or self._tokens.ends_soon(self.clock()):
                self._tokens = await self.client.by_client_credentials()
            return self._tokens
