"""The Redis connection as this package uses it: named keys, guarded commands, scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from auth_server.keys import Keys
from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state.lookups import Lookups
from switchboard.state.redis_compat import AWAY, unavailable

Hold = Callable[[str], Awaitable[object]]
"""Waits until what was written beside a key will outlive its server, as far as that is asked for."""


async def at_once(_key: str) -> None:
    """Waits for nothing."""


_AWAY = "the authorization store cannot be reached"


class Connection:
    """What every store of this package shares.

    Args:
        lookups: asks what is asked for every request; without them, `redis` is asked.
    """

    def __init__(self, redis: Redis, prefix: str = "", hold: Hold = at_once, lookups: Lookups | None = None) -> None:
        self.hold = hold
        self._lookups = lookups
        self._redis: Any = redis  # the client's own annotations mix its sync and async faces
        self.keys = Keys(prefix)

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Any]:
        """The client, with "Redis is away" turned into `StateUnavailable`."""
        try:
            yield self._redis
        except AWAY as error:
            raise unavailable(error, _AWAY) from error

    def look(self, *commands: tuple[str, ...]) -> Awaitable[list[Any]]:
        """Several short look-ups (see `switchboard.state.lookups`), asked at once; the answer must be awaited."""
        if self._lookups is None:
            return self.pipeline(*((name.lower(), *arguments) for name, *arguments in commands))
        return self._answers([self._lookups.ask(*command) for command in commands])

    def has(self, keys: tuple[str, ...]) -> Awaitable[bool]:
        """Whether all of these keys, which are in one slot, are there; as `look`."""
        if self._lookups is None:
            return self._found(keys)
        return self._have(len(keys), self._lookups.ask("EXISTS", *keys))

    async def _have(self, count: int, asked: asyncio.Future[Any]) -> bool:
        try:
            return bool(await asked == count)
        except StateBusy:
            raise
        except StateUnavailable as error:
            raise StateUnavailable(_AWAY) from error

    async def _found(self, keys: tuple[str, ...]) -> bool:
        return await self.pipeline(("exists", *keys)) == [len(keys)]

    async def _answers(self, asked: list[asyncio.Future[Any]]) -> list[Any]:
        try:
            return [await each for each in asked]
        except StateBusy:
            raise
        except StateUnavailable as error:
            raise StateUnavailable(_AWAY) from error

    async def run_lasting(self, script: str, keys: Sequence[str], args: Sequence[str | float]) -> Any:
        """Run a script whose effect must not be forgotten: a code spent, a token replaced."""
        answer = await self.run(script, keys, args)
        await self.hold(keys[0])
        return answer

    async def run(self, script: str, keys: Sequence[str], args: Sequence[str | float]) -> Any:
        """Run a script of `store.scripts`."""
        async with self.commands() as redis:
            return await redis.eval(script, len(keys), *keys, *args)

    async def pipeline(self, *commands: tuple[str, ...]) -> list[Any]:
        """Several commands in one round trip, not as a transaction, so that their keys may live apart."""
        async with self.commands() as redis:
            pipe = redis.pipeline(transaction=False)
            for command in commands:
                getattr(pipe, command[0])(*command[1:])
            return list(await pipe.execute())


def ms(seconds: float) -> int:
    """Whole milliseconds for PX, at least one."""
    return max(1, int(seconds * 1000))
