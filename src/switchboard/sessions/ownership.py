"""How many sessions one owner has: counted for the fleet, so that nobody fills Redis with sessions."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final, cast

from switchboard.errors import TooMany
from switchboard.state import State

CLEARED_AT_ONCE: Final = 200
"""How many of the oldest entries are checked when the limit is reached: bounded work for whoever runs into it."""

KEPT_S: Final = 7 * 86_400


class Ownership:
    """The sessions of each owner. Entries of expired sessions are cleared when room is needed."""

    def __init__(self, state: State, limit: int) -> None:
        self._state = state
        self._limit = limit

    async def admit(self, owner: str, sid: str) -> None:
        """Count one more session.

        Raises:
            TooMany: the owner has as many as one may have.
        """
        key = self._key(owner)
        with self._state.guard():
            if int(await self._state.redis.zcard(key)) >= self._limit:
                await self._clear(key)
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zadd(key, {sid: time.time()})
                pipe.expire(key, KEPT_S)
                await pipe.execute()

    async def release(self, owner: str, sid: str) -> None:
        """Count one session less."""
        with self._state.guard():
            await self._state.redis.zrem(self._key(owner), sid)

    async def _clear(self, key: str) -> None:
        redis = self._state.redis
        oldest = cast(list[str], await redis.zrange(key, 0, CLEARED_AT_ONCE - 1))
        async with redis.pipeline(transaction=False) as pipe:
            for sid in oldest:
                pipe.exists(self._state.keys.session(sid))
            alive: list[Any] = await pipe.execute()
        dead = [sid for sid, exists in zip(oldest, alive, strict=True) if not exists]
        if not dead:
            raise TooMany("sessions", self._limit, "MAX_SESSIONS")
        await redis.zrem(key, *dead)

    def _key(self, owner: str) -> str:
        return self._state.keys.owned(hashlib.sha256(owner.encode()).hexdigest()[:24])
