"""JWT assertions (RFC 7521, RFC 7523): signature, issuer, audience, lifetime, and each accepted once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TypeGuard

from auth_server.crypto import KeyRing
from auth_server.jwt.key_sets import KeySets
from auth_server.models import Client
from auth_server.store.connection import Connection, ms
from switchboard.common.jose import InvalidJwt, Jwt, peek, verified

SKEW = 60
LONGEST = 3_600
"""Seconds: an assertion that lives longer is not one made for this request."""


class Assertions:
    """Verifies assertions and remembers their ids for as long as they live.

    Args:
        key_sets: of clients.
        issuers_key_sets: of the issuers that the settings name, when they are fetched in another way.
    """

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        key_sets: KeySets,
        clock: Callable[[], float] = time.time,
        issuers_key_sets: KeySets | None = None,
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._key_sets = key_sets
        self._issuers_key_sets = issuers_key_sets or key_sets
        self._clock = clock

    async def of_client(self, token: str, client: Client, audiences: Collection[str]) -> bool:
        """Whether a client signed this to authenticate here (RFC 7523 §3)."""
        try:
            found = await self._signed(token, client)
        except InvalidJwt:
            return False
        claims = found.claims
        if not claims.get("iss") == claims.get("sub") == client.id:
            return False
        return await self.acceptable(found, audiences, f"client {client.id}")

    async def _signed(self, token: str, client: Client) -> Jwt:
        if client.jwks is not None:
            return verified(token, client.jwks["keys"])
        return await self._key_sets.verified(token, client.jwks_uri)

    async def by_issuer(self, token: str, jwks_uri: str, audiences: Collection[str], issuer: str) -> Jwt | None:
        """An assertion of a trusted issuer about a person, or `None`."""
        try:
            found = await self._issuers_key_sets.verified(token, jwks_uri)
        except InvalidJwt:
            return None
        if found.claims.get("iss") != issuer:
            return None
        return found if await self.acceptable(found, audiences, f"issuer {issuer}") else None

    async def acceptable(self, found: Jwt, audiences: Collection[str], who: str) -> bool:
        """Whether it is for us alone, current, and seen for the first time."""
        claims, now = found.claims, self._clock()
        expires, jti = claims.get("exp"), claims.get("jti")
        if claims.get("aud") not in audiences and claims.get("aud") not in [[item] for item in audiences]:
            return False
        if not _is_number(expires) or not now - SKEW < expires <= now + LONGEST or not isinstance(jti, str) or not jti:
            return False
        if any(name in claims and not _not_after(claims[name], now) for name in ("nbf", "iat")):
            return False
        return await self._first_time(who, jti, expires - now + SKEW)

    async def _first_time(self, who: str, jti: str, lives: float) -> bool:
        name = self._connection.keys.name("once", purpose="assertion", mac=self._ring.mac("assertion", f"{who}\0{jti}"))
        async with self._connection.commands() as redis:
            return bool(await redis.set(name, "1", nx=True, px=ms(lives)))


def claimed_client(token: str) -> str:
    """Which client an assertion says it is from; to be proven."""
    try:
        subject = peek(token).claims.get("sub")
    except InvalidJwt:
        return ""
    return subject if isinstance(subject, str) else ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _not_after(value: object, now: float) -> bool:
    return _is_number(value) and value <= now + SKEW
