"""Verifying beside the authorization server, by looking into the store that it shares with us, for every request.

What cannot change is kept: whose a token is, and the keys under which the store has it. Whether they are still there is
asked each time, so a token that was revoked anywhere is refused by the very next request, on every worker.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.identity.claims import ClaimRules
from switchboard.identity.principal import Principal

KEPT: Final = 10_000
"""Tokens of which it is kept whose they are; of more, the one used longest ago is forgotten."""


class FoundToken(Protocol):
    """A good token."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """What it says, for as long as it is good."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """It is good while the store has all of these, and it has not expired; empty when that does not tell."""
        ...


class TokenStore(Protocol):
    """Where the authorization server has its access tokens. Its methods may raise `StateUnavailable`."""

    async def find(self, token: str) -> FoundToken | None:
        """A good token; `None` for one that is unknown, expired or revoked."""
        ...

    def has(self, keys: tuple[str, ...]) -> Awaitable[bool]:
        """Whether all of the keys are there; asked at once, not when it is awaited."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    principal: Principal
    keys: tuple[str, ...]


class InProcessVerifier:
    """Looks tokens up in a store; revocation is seen at once. Satisfies `TokenVerifier`.

    Args:
        issuer: what tokens name as theirs.
        resource: what tokens must be for; one of these.
        clock: the time, as Unix seconds.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        issuer: str,
        resource: str | Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        audiences = (resource,) if isinstance(resource, str) else tuple(resource)
        self._store = store
        self._rules = ClaimRules(issuer=issuer, audiences=audiences)
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._key = secrets.token_bytes(32)  # a memory dump gives no token away

    def verify(self, token: str) -> Awaitable[Principal | None]:
        """See `TokenVerifier`."""
        name = hashlib.blake2b(token.encode(), key=self._key, digest_size=16).digest()
        kept = self._kept.get(name)
        if kept is None:
            return self._found(name, token)
        self._kept.move_to_end(name)
        return self._seen(name, token, kept.principal, self._store.has(kept.keys))

    async def _seen(self, name: bytes, token: str, principal: Principal, there: Awaitable[bool]) -> Principal | None:
        """Of a token that was good before."""
        try:
            good = await there
        except StateUnavailable as error:
            raise AuthorizationUnavailable(str(error)) from error
        if good and (principal.expires_at is None or self._clock() < principal.expires_at):
            return principal
        self._kept.pop(name, None)
        return await self._found(name, token)

    async def _found(self, name: bytes, token: str) -> Principal | None:
        try:
            found = await self._store.find(token)
        except StateUnavailable as error:
            raise AuthorizationUnavailable(str(error)) from error
        principal = self._rules.principal(found.claims, self._clock()) if found else None
        if found and principal and found.keys:
            self._kept[name] = _Kept(principal, found.keys)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return principal
