"""How many sessions one owner has, counted for the fleet: a limit on what an owner can store in Redis.

Each owner has a sorted set of sessions, by when each expires if it is not used again. Using a session does not write
here: making the next one looks at the entries that are due, removes those whose session has ended, and sets the others
to when they expire now. So an entry is looked at once in a session's life, and none outlives its session for long.
Records that Redis evicted are looked for, now and then, when an owner is at the limit.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final, cast

from redis.asyncio.client import Pipeline

from switchboard.errors import TooMany
from switchboard.state import State

LOOKED_AT: Final = 50
"""Entries that are due of which each new session looks at no more than this."""

AT_ONCE: Final = 500
"""Entries looked at in one round trip when an owner is at the limit."""

KEPT_LIVES: Final = 2
"""Lives of a session after its last use, for which its owner's set is kept."""

TOLD_TIMES: Final = 4
"""How often in one life of a session a worker says that its owner's set is still needed."""

SEARCHED_S: Final = 10.0
"""How often a worker looks at every entry of an owner at the limit."""

MOST_OWNERS: Final = 10_000


class SessionQuota:
    """The sessions of each owner.

    Args:
        ttl_ms: the life of a session that nobody uses.
    """

    def __init__(self, state: State, limit: int, ttl_ms: int) -> None:
        self._state = state
        self._limit = limit
        self._ttl_ms = ttl_ms
        self._told: dict[str, float] = {}
        """When this worker said last that an owner's set is needed."""
        self._searched: dict[str, float] = {}
        """When this worker looked at every entry of an owner last."""

    async def admit(self, owner: str, sid: str) -> None:
        """Count one more session.

        Raises:
            TooMany: the owner has as many as one may have.
        """
        key, now = self._key(owner), self._now()
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zcard(key)
                pipe.zrangebyscore(key, "-inf", now, start=0, num=LOOKED_AT)
                counted, due = cast(tuple[int, list[str]], await pipe.execute())
            left = counted - await self._look(key, due)
            while left >= self._limit:
                due = cast(list[str], await self._state.redis.zrangebyscore(key, "-inf", now, start=0, num=AT_ONCE))
                if not due and not (due := await self._before_their_time(owner)):
                    raise TooMany("sessions", self._limit, "MAX_SESSIONS")
                left -= await self._look(key, due)
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zadd(key, {sid: now + self._ttl_ms})
                self._keep(pipe, key)
                await pipe.execute()

    async def release(self, owner: str, sid: str) -> None:
        """Count one session less."""
        with self._state.guard():
            await self._state.redis.zrem(self._key(owner), sid)

    async def used(self, owner: str) -> None:
        """Keep the owner's set while its sessions are used; now and then it is a command."""
        if self._due(self._told, owner, self._ttl_ms / 1000 / TOLD_TIMES):
            with self._state.guard():
                await self._state.redis.pexpire(self._key(owner), KEPT_LIVES * self._ttl_ms)

    def _keep(self, pipe: Pipeline, key: str) -> None:
        pipe.pexpire(key, KEPT_LIVES * self._ttl_ms)

    def _due(self, last: dict[str, float], owner: str, every: float) -> bool:
        now = time.monotonic()
        if now - last.get(owner, float("-inf")) < every:
            return False
        if len(last) >= MOST_OWNERS:
            last.clear()
        last[owner] = now
        return True

    async def _before_their_time(self, owner: str) -> list[str]:
        """Entries whose records are gone though their time has not come; none, if they were looked for just now."""
        if not self._due(self._searched, owner, SEARCHED_S):
            return []
        every = cast(list[str], await self._state.redis.zrange(self._key(owner), 0, -1))
        gone: list[str] = []
        for start in range(0, len(every), AT_ONCE):
            async with self._state.redis.pipeline(transaction=False) as pipe:
                for sid in every[start : start + AT_ONCE]:
                    pipe.exists(self._state.keys.session(sid))
                there: list[Any] = await pipe.execute()
            gone += [sid for sid, found in zip(every[start:], there, strict=False) if not found]
        return gone

    async def _look(self, key: str, due: Sequence[str]) -> int:
        """Take away those that have ended, and note of the others when they would end now; how many have."""
        if not due:
            return 0
        async with self._state.redis.pipeline(transaction=False) as pipe:
            for sid in due:
                pipe.pttl(self._state.keys.session(sid))
            lives: list[Any] = await pipe.execute()
        ended = [sid for sid, left in zip(due, lives, strict=True) if int(left) < 0]
        alive = {sid: self._now() + int(left) for sid, left in zip(due, lives, strict=True) if int(left) >= 0}
        async with self._state.redis.pipeline(transaction=False) as pipe:
            if ended:
                pipe.zrem(key, *ended)
            if alive:
                pipe.zadd(key, alive, xx=True)
            await pipe.execute()
        return len(ended)

    def _now(self) -> int:
        return int(self._state.clock() * 1000)

    def _key(self, owner: str) -> str:
        return self._state.keys.owned(hashlib.sha256(owner.encode()).hexdigest()[:24])
