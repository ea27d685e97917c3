"""The key pairs that sign access tokens, when those are JWTs (RFC 9068): one for the fleet, rotated without a gap.

A new pair is published for a while before it signs: a verifier that has just looked, and will not look again so soon,
knows it by then. An old one stays published until the last token it signed has expired.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from auth_server.crypto import KeyRing
from auth_server.store.connection import Connection
from switchboard.common.jose import InvalidJwt, peek, verified
from switchboard.common.sealing import b64, random_token

ALGORITHM = "ES256"
TYPE = "at+jwt"
ROTATED_AFTER = 30 * 86_400
PUBLISHED_AFTER = 86_400
"""Seconds: a pair signs for 30 days, and is published for one day more."""

PUBLISHED_BEFORE = 600
"""Seconds before it signs: longer than our `max-age`, and than verifiers wait before they look again."""


@dataclass(frozen=True, slots=True)
class _Pair:
    kid: str
    made: float
    private: dict[str, Any]

    @property
    def public(self) -> dict[str, Any]:
        return {name: value for name, value in self.private.items() if name != "d"}


class SigningKeys:
    """Signs, verifies and publishes."""

    def __init__(self, connection: Connection, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._ring = ring
        self._clock = clock
        self._name = connection.keys.name("signing")
        # Pairs that a SECRET_KEY which is gone has sealed are no pairs any more, and must not be in the way.
        self._first = f"first {ring.mac('signing', '')[:12]}"

    async def sign(self, claims: dict[str, Any]) -> str:
        """An access token with these claims."""
        pairs = await self._pairs()
        ready = (pair for pair in pairs if pair.made + PUBLISHED_BEFORE <= self._clock())
        signer = next(ready, pairs[-1])
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": signer.kid}
        return jwt.encode(header, claims, ECKey.import_key(signer.private), algorithms=[ALGORITHM])

    async def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that one of our pairs signed; whether it is still good is not said."""
        try:
            if peek(token).header.get("typ") != TYPE:
                return None
            return verified(token, [pair.public for pair in await self._pairs()], (ALGORITHM,)).claims
        except InvalidJwt:
            return None

    async def published(self) -> dict[str, Any]:
        """The key set (RFC 7517)."""
        return {"keys": [pair.public for pair in await self._pairs()]}

    async def rotate(self, *, keep_old: bool = True) -> str:
        """Make a new pair, its id. It signs soon, or at once when the old ones are not kept and verify no more."""
        old = await self._slots()
        kid = await self._make(f"{int(self._clock() * 1000)}")
        if old and not keep_old:
            async with self._connection.commands() as redis:
                await redis.hdel(self._name, *old)
        return kid

    async def _slots(self) -> list[str]:
        async with self._connection.commands() as redis:
            return list(await redis.hkeys(self._name))

    async def _pairs(self) -> list[_Pair]:
        """Newest first; the first one is made here, the next ones when their time has come."""
        found = await self._read()
        if not found or found[0].made + ROTATED_AFTER <= self._clock():
            # All workers choose the same slot, so only one of them makes the pair.
            await self._make(f"after {found[0].kid}" if found else self._first)
            found = await self._read()
        return [pair for number, pair in enumerate(found) if number == 0 or self._still_needed(found[number - 1])]

    def _still_needed(self, successor: _Pair) -> bool:
        return successor.made + PUBLISHED_AFTER > self._clock()

    async def _read(self) -> list[_Pair]:
        async with self._connection.commands() as redis:
            stored: dict[str, str] = await redis.hgetall(self._name)
        opened = (self._ring.unseal(value, self._name) for value in stored.values())
        pairs = [_Pair(**json.loads(payload)) for payload in opened if payload]
        return sorted(pairs, key=lambda pair: (pair.made, pair.kid), reverse=True)

    async def _make(self, slot: str) -> str:
        kid = b64(random_token().encode())[:12]
        key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
        pair = {"kid": kid, "made": self._clock(), "private": key.as_dict(private=True)}
        async with self._connection.commands() as redis:
            await redis.hsetnx(self._name, slot, self._ring.seal(json.dumps(pair).encode(), self._name))
        return kid
