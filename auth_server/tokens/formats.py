"""The formats of access tokens: opaque by default, a JWT by setting. Both are kept in the store.

Two formats behind one protocol. A JWT can be verified without asking (and so outlives its revocation there, ten minutes
at most); introspection, by HTTP or in the process, gives the same answer for either kind.
"""

from __future__ import annotations

from typing import Any, Protocol

from auth_server.crypto import FAMILY, KeyRing
from auth_server.jwt.signing_keys import SigningKeys
from switchboard.common.sealing import random_token

JWT_LIFE = 600
"""Seconds: a JWT that was verified elsewhere cannot be revoked there, so it does not live long."""


class TokenFormat(Protocol):
    """Makes access tokens and recognizes them."""

    longest: float

    async def make(self, family: str, claims: dict[str, Any]) -> str:
        """A token of `family`."""
        ...

    async def family(self, token: str) -> str | None:
        """The family of a token that we made; `None` for anything else."""
        ...

    def lasting(self, token: str) -> bool:
        """Whether `family` will always say of a token that we made what it said once."""
        ...


class Opaque:
    """Random, with a tag; means nothing to its holder."""

    longest = float("inf")

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def make(self, family: str, claims: dict[str, Any]) -> str:
        """See `TokenFormat`."""
        return self._ring.mint("access", family)

    async def family(self, token: str) -> str | None:
        """See `TokenFormat`."""
        return self._ring.family("access", token)

    def lasting(self, token: str) -> bool:
        """See `TokenFormat`."""
        return True


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
        if self.lasting(token):
            return await self._opaque.family(token)
        claims = await self._keys.claims(token)
        jti = claims.get("jti") if claims else None
        return jti[:FAMILY] if isinstance(jti, str) else None

    def lasting(self, token: str) -> bool:
        """See `TokenFormat`; the pair that signed a JWT may be withdrawn."""
        return token.count(".") != 2
