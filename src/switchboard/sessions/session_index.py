"""The ids of all sessions of the fleet in one sorted set, for operators, who see them in pages.

It is made by one look through the keys, when a page is asked for and there is none; sessions that are opened and ended
put themselves in and take themselves out. `WHOLE_S` later it is made anew: so sessions that a worker of an earlier
version opened are missing for no longer, and those that ended by themselves, or were lost by Redis, are in it for no
longer. While nobody looks it is gone.
"""

from __future__ import annotations

from typing import Any, Final

from switchboard.state import State

WHOLE_S: Final = 600
"""How long an index that was made is taken for whole."""

KEPT_S: Final = 660
"""How long the set is kept after it was made, or begun."""

AT_ONCE: Final = 1_000


class SessionIndex:
    """The ids of all sessions. Every method may raise `StateUnavailable`."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, sid: str) -> None:
        """Put a session in that is stored by now."""
        key = self._state.keys.session_index()
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zadd(key, {sid: 0})
                pipe.expire(key, KEPT_S, nx=True)
                await pipe.execute()

    async def remove(self, *sids: str) -> None:
        """Take sessions out that have ended."""
        with self._state.guard():
            await self._state.redis.zrem(self._state.keys.session_index(), *sids)

    async def page(self, after: str, limit: int) -> tuple[list[str], int]:
        """The next ids after one, in order, and how many there are of all; of those that ended a few may be left."""
        await self._make()
        key = self._state.keys.session_index()
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.zrangebylex(key, f"({after}" if after else "-", "+", start=0, num=limit)
                pipe.zcard(key)
                found: list[Any] = await pipe.execute()
        return found[0], found[1]

    async def _make(self) -> None:
        """Look through all keys, unless that was done a while ago."""
        key, whole = self._state.keys.session_index(), self._state.keys.session_index_whole()
        with self._state.guard():
            if await self._state.redis.exists(whole):
                return
            before = {str(each) for each in await self._state.redis.zrange(key, 0, -1)}
            found = await self._found()
            gone = sorted(before - found)
            async with self._state.redis.pipeline(transaction=False) as pipe:
                for part in _parts(sorted(found)):
                    pipe.zadd(key, dict.fromkeys(part, 0))
                for part in _parts(gone):
                    pipe.zrem(key, *part)
                pipe.expire(key, KEPT_S)
                pipe.set(whole, "1", ex=WHOLE_S)
                await pipe.execute()

    async def _found(self) -> set[str]:
        before, after = self._state.keys.session("\n").split("\n")
        keys = self._state.redis.scan_iter(match=f"{before}*{after}", count=AT_ONCE)
        return {str(key).removeprefix(before).removesuffix(after) async for key in keys}


def _parts(sids: list[str]) -> list[list[str]]:
    return [sids[start : start + AT_ONCE] for start in range(0, len(sids), AT_ONCE)]
