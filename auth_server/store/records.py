"""Short-lived sealed records: pending authorizations, logins, codes of the fake identity provider, browser sessions.

Each is known by a random token that only its holder has. The key's name is the token's HMAC, the value is sealed under
the token: neither a dump of Redis nor its key space gives any of them away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container
from typing import Any

from auth_server.crypto import KeyRing
from auth_server.store.connection import Connection, ms
from switchboard.common.sealing import random_token, seal, unseal

MAX_RECORDS = 10_000
"""Records of a kind that need no sign-in; the oldest is deleted for a new one."""


class Records:
    """Puts, reads and takes records of any kind.

    Args:
        most: records of a kind; the one that ends first makes room.
        unbounded: kinds that only people who signed in can make.
    """

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        clock: Callable[[], float] = time.time,
        most: int = MAX_RECORDS,
        unbounded: Container[str] = (),
    ) -> None:
        self._most = most
        self._unbounded = unbounded
        self._connection = connection
        self._ring = ring
        self._clock = clock

    async def put(self, kind: str, payload: dict[str, Any], lives: float, *, token: str | None = None) -> str:
        """Keep `payload` for `lives` seconds; the token that finds it again."""
        token = token or random_token()
        name = self._name(kind, self._ring.mac(kind, token))
        value = json.dumps({"until": self._clock() + lives, **payload}).encode()
        async with self._connection.commands() as redis:
            pipe = redis.pipeline(transaction=False)
            pipe.set(name, seal(token, value, kind), px=ms(lives))
            if kind not in self._unbounded:
                index, now = self._index(kind), self._clock()
                pipe.zremrangebyscore(index, "-inf", now)
                pipe.zadd(index, {name: now + lives})
                pipe.pexpire(index, ms(lives))
                pipe.zcard(index)
            *_, count = await pipe.execute()
            if kind not in self._unbounded and count > self._most:
                for oldest, _ in await redis.zpopmin(index, count - self._most):
                    await redis.delete(oldest)
        return token

    async def read(self, kind: str, token: str) -> dict[str, Any] | None:
        """The payload, left where it is."""
        return await self._find(kind, token, "get")

    async def take(self, kind: str, token: str) -> dict[str, Any] | None:
        """The payload, at most once in the whole fleet."""
        return await self._find(kind, token, "getdel")

    async def _find(self, kind: str, token: str, command: str) -> dict[str, Any] | None:
        names = [self._name(kind, mac) for mac in self._ring.macs(kind, token)]
        commands: list[tuple[str, ...]] = [(command, name) for name in names]
        if command == "getdel" and kind not in self._unbounded:
            commands.append(("zrem", self._index(kind), *names))
        answers = (await self._connection.pipeline(*commands))[: len(names)]
        found = [value for value in answers if value]
        if not found:
            return None
        payload = unseal(token, found[0], kind)
        if payload is None:
            return None
        record: dict[str, Any] = json.loads(payload)
        return record if record.pop("until") > self._clock() else None

    def _index(self, kind: str) -> str:
        return self._connection.keys.name("records", kind=kind)

    def _name(self, kind: str, mac: str) -> str:
        return self._connection.keys.name("record", kind=kind, mac=mac)
