"""Verifying in the process of the authorization server itself: one look into the shared store, never cached."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.identity.claims import ClaimRules
from switchboard.identity.principal import Principal

Introspect = Callable[[str], Awaitable[Mapping[str, Any] | None]]


class InProcessVerifier:
    """Asks a callable for a token's claims; revocation is seen at once."""

    def __init__(
        self,
        introspect: Introspect,
        *,
        issuer: str,
        resource: str | Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        audiences = (resource,) if isinstance(resource, str) else tuple(resource)
        self._introspect = introspect
        self._rules = ClaimRules(issuer=issuer, audiences=audiences)
        self._clock = clock

    async def verify(self, token: str) -> Principal | None:
        """Satisfies `TokenVerifier`."""
        try:
            claims = await self._introspect(token)
        except StateUnavailable as error:
            raise AuthorizationUnavailable(str(error)) from error
        return self._rules.principal(claims, self._clock()) if claims else None
