"""Documents of others that were fetched, kept for a while: a bounded number of hosts, of documents, and of bytes.

Clients name addresses, as many as they like of one host. So each host has a bounded hash of its own, emptied when it is
full; of too many hosts, the one written longest ago is deleted. What is lost by that is fetched again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from auth_server.crypto import KeyRing
from auth_server.store.connection import Connection, ms


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: hosts, documents of each, bytes of each document, and seconds at most."""

    hosts: int = 1_000
    of_a_host: int = 8
    bytes: int = 8_192
    seconds: int = 86_400


class Fetched:
    """What was fetched of one kind.

    Args:
        kind: a name for the kind; kinds do not take room from each other.
        bounds: how much of it is kept.
    """

    def __init__(
        self,
        connection: Connection,
        ring: KeyRing,
        kind: str,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._kind = kind
        self._bounds = bounds or Bounds()
        self._clock = clock

    async def find(self, address: str) -> Any:
        """What is kept of an address; `None` when nothing is."""
        async with self._connection.commands() as redis:
            found = await redis.hget(self._host(address), self._document(address))
        kept = json.loads(found) if found else None
        return kept["what"] if kept and kept["until"] > self._clock() else None

    async def keep(self, address: str, what: Any, seconds: float) -> None:
        """Keep something of an address; what is too large is not kept."""
        text = json.dumps({"until": self._clock() + min(seconds, self._bounds.seconds), "what": what})
        if len(text) > self._bounds.bytes:
            return
        host, hosts = self._host(address), self._connection.keys.name("hosts", kind=self._kind)
        async with self._connection.commands() as redis:
            if await redis.hlen(host) >= self._bounds.of_a_host:
                await redis.delete(host)
            pipe = redis.pipeline(transaction=False)
            pipe.hset(host, self._document(address), text)
            pipe.pexpire(host, ms(self._bounds.seconds))
            pipe.zadd(hosts, {host: self._clock()})
            pipe.pexpire(hosts, ms(self._bounds.seconds))
            pipe.zcard(hosts)
            *_, count = await pipe.execute()
            for oldest, _ in (
                await redis.zpopmin(hosts, count - self._bounds.hosts) if count > self._bounds.hosts else ()
            ):
                await redis.delete(oldest)

    def _host(self, address: str) -> str:
        name = (urlsplit(address).hostname or "").lower().removesuffix(".")
        return self._connection.keys.name("fetched", kind=self._kind, mac=self._ring.mac("host", name))

    def _document(self, address: str) -> str:
        return self._ring.mac(self._kind, address)
