"""Verifying beside the authorization server, by looking into the store that it shares with us, for every request.

What cannot change is kept: whose a token is, and the keys under which the store has it. Whether they are still there is
asked each time, so a token that was revoked anywhere is refused by the very next request, on every worker.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.identity.cache import MOST_TOKENS, ExpiringCache, TokenNames
from switchboard.identity.claims import ClaimRules
from switchboard.identity.principal import Principal


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
        cache_size: of how many tokens it is kept whose they are.
        clock: the time, as Unix seconds.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        issuer: str,
        resource: str | Collection[str],
        cache_size: int = MOST_TOKENS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        audiences = (resource,) if isinstance(resource, str) else tuple(resource)
        self._store = store
        self._rules = ClaimRules(issuer=issuer, audiences=audiences)
        self._clock = clock
        self._kept: ExpiringCache[_Kept] = ExpiringCache(cache_size)
        self._name = TokenNames()

    def verify(self, token: str) -> Awaitable[Principal | None]:
        """See `TokenVerifier`."""
        name = self._name(token)
        kept = self._kept.get(name, self._clock())
        if kept is None:
            return self._found(name, token)
        return self._seen(name, token, kept[0].principal, self._store.has(kept[0].keys))

    async def _seen(self, name: str, token: str, principal: Principal, there: Awaitable[bool]) -> Principal | None:
        """Of a token that was good before."""
        try:
            good = await there
        except StateUnavailable as error:
            raise AuthorizationUnavailable(str(error)) from error
        if good:
            return principal
        self._kept.drop(name)
        return await self._found(name, token)

    async def _found(self, name: str, token: str) -> Principal | None:
        try:
            found = await self._store.find(token)
        except StateUnavailable as error:
            raise AuthorizationUnavailable(str(error)) from error
        principal = self._rules.principal(found.claims, self._clock()) if found else None
        if found and principal and found.keys:
            until = principal.expires_at if principal.expires_at is not None else float("inf")
            self._kept.put(name, _Kept(principal, found.keys), until)
        return principal
