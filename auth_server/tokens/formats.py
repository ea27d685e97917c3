"""What an access token looks like from outside: opaque by default, a JWT by setting. Both are known to the store.

The seam has two strategies. A JWT can be verified without asking (and so outlives its revocation there, ten minutes at
most); whoever asks, by introspection or in the process, gets the same answer for either kind.
"""

from __future__ import annotations

from typing import Any, Protocol

from auth_server.crypto import FAMILY, KeyRing, random_token
from auth_server.jwt.signing_keys import SigningKeys

JWT_LIFE = 600
"""Seconds: nobody can be made to forget a JWT, so it does not live long."""


class TokenFormat(Protocol):
    """Makes access tokens and recognizes them."""

    longest: float

    async def make(self, family: str, claims: dict[str, Any]) -> str:
        """A token of `family`."""
        ...

    async def family(self, token: str) -> str | None:
        """The family of a token that we made; `None` for anything else."""
        ...


class Opaque:
    """Random, with a tag; says nothing to whoever holds it."""

    longest = float("inf")

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def make(self, family: str, claims: dict[str, Any]) -> str:
        """See `TokenFormat`."""
        return self._ring.mint("access", family)

    async def family(self, token: str) -> str | None:
        """See `TokenFormat`."""
        return self._ring.family("access", token)


class SignedJwt:
    """RFC 9068. Its `jti` begins with the family. Opaque tokens from before the setting was changed stay good."""

    longest = float(JWT_LIFE)

    def __init__(self, ring: KeyRing, keys: SigningKeys) -> None:
        self._opaque = Opaque(ring)
        self._keys = keys

    async def make(self, family: str, claims: dict[str, Any]) -> str:
        """See `TokenFormat`."""
        return await self._keys.sign(claims | {"jti": f"{family}.{random_token()[:22]}"})

    async def family(self, token: str) -> str | None:
        """See `TokenFormat`."""
        if token.count(".") != 2:
            return await self._opaque.family(token)
        claims = await self._keys.claims(token)
        jti = claims.get("jti") if claims else None
        return jti[:FAMILY] if isinstance(jti, str) else None
