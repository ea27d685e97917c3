"""Key sets of others (RFC 7517): a client's own, or found at an address; cached for the fleet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from auth_server.store import Fetched
from switchboard.common.fetch.fetcher import FetchRefused
from switchboard.common.jose import InvalidJwt, Jwt, peek, public_members, verified
from switchboard.errors import AuthorizationUnavailable

LARGEST = 64 * 1024
KEPT = 3_600
SOONEST = 30
"""Seconds: an unknown key id makes us look again at most this often."""

Get = Callable[[str], Awaitable[dict[str, Any]]]


class KeySets:
    """Verifies tokens by the key set at an address."""

    def __init__(self, kept: Fetched, get: Get, clock: Callable[[], float] = time.time) -> None:
        self._kept = kept
        self._get = get
        self._clock = clock

    async def verified(self, token: str, address: str) -> Jwt:
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
        found = await self._kept.find(address)
        if found:
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
        usable = [public_members(key) for key in keys if isinstance(key, dict)]
        await self._kept.keep(address, {"keys": usable, "at": now}, KEPT)
        return usable, now
