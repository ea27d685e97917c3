"""Short-lived sealed records: pending authorizations, upstream logins, codes of the fake upstream, browser sessions.

Each is known by a random token that only its holder has. The key's name is the token's HMAC, the value is sealed under
the token: neither a dump of Redis nor its key space gives any of them away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from auth_server.crypto import KeyRing, random_token, seal, unseal
from auth_server.store.connection import Connection, ms


class Records:
    """Puts, reads and takes records of any kind."""

    def __init__(self, connection: Connection, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._ring = ring
        self._clock = clock

    async def put(self, kind: str, payload: dict[str, Any], lives: float, *, token: str | None = None) -> str:
        """Keep `payload` for `lives` seconds; the token that finds it again."""
        token = token or random_token()
        name = self._name(kind, self._ring.mac(kind, token))
        value = json.dumps({"until": self._clock() + lives, **payload}).encode()
        async with self._connection.commands() as redis:
            await redis.set(name, seal(token, value, kind), px=ms(lives))
        return token

    async def read(self, kind: str, token: str) -> dict[str, Any] | None:
        """The payload, left where it is."""
        return await self._find(kind, token, "get")

    async def take(self, kind: str, token: str) -> dict[str, Any] | None:
        """The payload, at most once in the whole fleet."""
        return await self._find(kind, token, "getdel")

    async def _find(self, kind: str, token: str, command: str) -> dict[str, Any] | None:
        names = [self._name(kind, mac) for mac in self._ring.macs(kind, token)]
        found = [value for value in await self._connection.pipeline(*((command, name) for name in names)) if value]
        if not found:
            return None
        payload = unseal(token, found[0], kind)
        if payload is None:
            return None
        record: dict[str, Any] = json.loads(payload)
        return record if record.pop("until") > self._clock() else None

    def _name(self, kind: str, mac: str) -> str:
        return self._connection.keys.name("record", kind=kind, mac=mac)
