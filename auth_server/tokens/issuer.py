"""Access and refresh tokens made of a grant, and the token response."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from auth_server.crypto import KeyRing
from auth_server.http.rate_limits import RateLimits
from auth_server.models import Grant
from auth_server.settings import AuthSettings
from auth_server.store import Issued
from auth_server.tokens.formats import TokenFormat


class TokenIssuer:
    """Mints access and refresh tokens for this issuer."""

    def __init__(
        self,
        ring: KeyRing,
        settings: AuthSettings,
        format_: TokenFormat,
        limits: RateLimits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._format = format_
        self._limits = limits
        self._ring = ring
        self._issuer = settings.issuer
        self._lives = settings.lifetimes
        self._clock = clock

    async def issue(
        self,
        family: str,
        grant: Grant,
        scope: str,
        *,
        refreshable: bool,
        until: float | None = None,
        actor: dict[str, Any] | None = None,
    ) -> Issued:
        """Tokens of `family` for what was granted, narrowed to `scope`, good until `until` at the latest.

        Raises:
            Refusal: too many for this principal; whatever was presented for them stays good.
        """
        await self._limits.person(grant.subject)
        now = int(self._clock())
        ends = min(grant.created + self._lives.family, until if until is not None else float("inf"))
        lives = int(max(1, min(self._lives.access, self._format.longest, ends - now)))
        refresh = self._ring.mint("refresh", family) if refreshable else None
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": grant.subject,
            "client_id": grant.client_id,
            "scope": scope,
            "aud": grant.resource,
            "iat": now,
            "exp": now + lives,
        } | ({"act": actor} if actor else {})
        access = await self._format.make(family, claims)
        response: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": lives,
            "scope": scope,
        }
        if refresh:
            response["refresh_token"] = refresh
        return Issued(family, access, claims, refresh, response)
