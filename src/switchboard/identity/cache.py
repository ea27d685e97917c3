"""What was found out about tokens, for a moment: bounded, expiring, and asked for once at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

V = TypeVar("V")


class ExpiringCache(Generic[V]):
    """The most recently used values, each until its time. Takes the time, never reads it."""

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
        """Keep a value; the least recently used one makes room."""
        self._values[key] = (until, value)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)


class OneAtATime:
    """A lock for each key, for as long as somebody wants it. A holder that is cancelled passes it on."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def holding(self, key: str) -> AsyncIterator[None]:
        """Wait for the key, hold it, let go."""
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
