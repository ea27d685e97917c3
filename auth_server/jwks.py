"""Key sets of others (RFC 7517): a client's own, or found at an address; cached for the fleet."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from auth_server.crypto import KeyRing
from auth_server.fetch import FetchRefused
from auth_server.jose import InvalidJwt, Verified, peek, verified
from auth_server.store.connection import Connection, ms
from switchboard.errors import AuthorizationUnavailable

LARGEST = 64 * 1024
KEPT = 3_600
SOONEST = 30
"""Seconds: an unknown key id makes us look again at most this often."""

Get = Callable[[str], Awaitable[dict[str, Any]]]


class KeySets:
    """Verifies tokens by the key set at an address."""

    def __init__(self, connection: Connection, ring: KeyRing, get: Get, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._ring = ring
        self._get = get
        self._clock = clock

    async def verified(self, token: str, address: str) -> Verified:
        """The token, verified by the keys at `address`; they are looked up again when the token names a new one.

        Raises:
            InvalidJwt: no key there made the signature.
            AuthorizationUnavailable: the keys cannot be had.
        """
        kid = peek(token).header.get("kid")
        keys, fetched = await self._keys(address)
        unknown = kid is not None and all(key.get("kid") != kid for key in keys)
        if unknown and self._clock() - fetched >= SOONEST:
            keys, _ = await self._fetch(address)
        return verified(token, keys)

    async def _keys(self, address: str) -> tuple[list[dict[str, Any]], float]:
        async with self._connection.commands() as redis:
            kept = await redis.get(self._name(address))
        if kept:
            found = json.loads(kept)
            return found["keys"], found["at"]
        return await self._fetch(address)

    async def _fetch(self, address: str) -> tuple[list[dict[str, Any]], float]:
        try:
            document = await self._get(address)
        except FetchRefused as refused:
            raise AuthorizationUnavailable("a key set cannot be fetched") from refused
        keys, now = document.get("keys"), self._clock()
        if not isinstance(keys, list):
            raise InvalidJwt("the key set is not one")
        usable = [key for key in keys if isinstance(key, dict)]
        async with self._connection.commands() as redis:
            await redis.set(self._name(address), json.dumps({"keys": usable, "at": now}), px=ms(KEPT))
        return usable, now

    def _name(self, address: str) -> str:
        return self._connection.keys.name("document", mac=self._ring.mac("key set", address))
