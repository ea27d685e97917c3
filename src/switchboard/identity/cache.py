"""What is kept of tokens: a bounded cache whose entries expire, names that give no token away, and a lock for each."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

V = TypeVar("V")


MOST_TOKENS: Final = 10_000
"""Of how many tokens something is kept."""


class TokenNames:
    """Names tokens by a keyed hash, so that whoever reads a worker's memory finds no token in its caches."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __call__(self, token: str) -> str:
        return hashlib.blake2b(token.encode(), key=self._key, digest_size=24).hexdigest()


class ExpiringCache(Generic[V]):
    """The most recently used values, each until its expiry. Takes the time, never reads it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def get(self, key: str, now: float) -> tuple[V] | None:
        """The value in a tuple, so that a stored `None` differs from nothing stored."""
        found = self._values.get(key)
        if found is None:
            return None
        until, value = found
        if until <= now:
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return (value,)

    def put(self, key: str, value: V, until: float) -> None:
        """Keep a value; of too many, the least recently used one is dropped."""
        self._values[key] = (until, value)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, key: str) -> None:
        """Keep it no longer."""
        self._values.pop(key, None)

    def __len__(self) -> int:
        return len(self._values)


class KeyedLocks:
    """A lock for each key, dropped when no task waits for it. A holder that is cancelled releases it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """Hold the key's lock while the block runs."""
        lock, wanted = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, wanted - 1)
