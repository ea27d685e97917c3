"""A worker's name and heartbeat, and for a minute after it ended as it was told to, that it did.

Renewing needs no memory, so it goes on while Redis is full. With its heartbeat a worker also writes the fleet's
fingerprint again, which an emptied Redis has forgotten.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from switchboard.aio import background
from switchboard.errors import StateUnavailable
from switchboard.state.fingerprint import written

if TYPE_CHECKING:
    from switchboard.state.connect import State

RETRY_S: Final = 1.0
"""How soon a heartbeat that failed is tried again."""

LEFT_S: Final = 60.0
"""For how long it is known that a worker ended as it was told to."""

log = structlog.get_logger("switchboard.state")


def mint_worker_id() -> str:
    """A fresh id; call it in the process that will use it, never before a fork."""
    return "w" + secrets.token_hex(4)


async def alive(state: State, worker: str) -> bool:
    """Whether the worker of that id may still be: nobody is taken for dead for what lapsed while Redis was away.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    with state.guard():
        beats = await state.redis.exists(state.keys.worker(worker))
    return bool(beats) or not state.contact.settled


async def living(state: State) -> list[str]:
    """The ids of all workers that have a heartbeat.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    first = state.keys.worker("")
    with state.guard():
        return [str(key).removeprefix(first) async for key in state.redis.scan_iter(match=f"{first}*", count=500)]


async def left(state: State) -> dict[str, float]:
    """The workers that ended as they were told to within the last `LEFT_S`, each with when, in Unix seconds.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    with state.guard():
        found: Any = await state.redis.zrange(
            state.keys.workers_left(), state.clock() - LEFT_S, "+inf", byscore=True, withscores=True
        )
    return {str(worker): float(when) for worker, when in found}


class Heartbeat:
    """Keeps `worker:<id>` alive while the worker is, and tells whether another one is.

    Args:
        keys: the SECRET_KEY ring that the fleet's fingerprint is made of; without one it is not written again.
    """

    def __init__(self, state: State, worker: str, version: str, keys: Sequence[str] = ()) -> None:
        self._state = state
        self._worker = worker
        self._key = state.keys.worker(worker)
        self._fields: dict[Any, Any] = {"version": version, "started": str(int(time.time()))}
        self._fingerprint = written(keys)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Beat until the context ends, then remove the key and note that this worker left."""
        await self._beat()
        try:
            async with background(self._keep_beating()):
                yield
        finally:
            await self._stop()

    async def alive(self, worker: str) -> bool:
        """As the function of that name."""
        return await alive(self._state, worker)

    async def _beat(self) -> None:
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=False) as pipe:
                pipe.pexpire(self._key, self._state.timing.lease_ms)
                pipe.exists(self._state.keys.fingerprint())
                renewed, known = await pipe.execute()
            if not renewed:
                await self._appear()
            if self._fingerprint and not known:
                await self._state.redis.set(self._state.keys.fingerprint(), self._fingerprint, nx=True)

    async def _appear(self) -> None:
        async with self._state.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._key, mapping=self._fields)
            pipe.pexpire(self._key, self._state.timing.lease_ms)
            await pipe.execute()

    async def _keep_beating(self) -> None:
        pause = renew = self._state.timing.renew_s
        while True:
            await asyncio.sleep(pause)
            try:
                await self._beat()
                pause = renew
            except StateUnavailable as error:
                log.warning(error.event, error=str(error))
                pause = RETRY_S

    async def _leave(self) -> None:
        noted, now = self._state.keys.workers_left(), self._state.clock()
        async with self._state.redis.pipeline(transaction=False) as pipe:
            pipe.zadd(noted, {self._worker: now})
            pipe.delete(self._key)
            pipe.zremrangebyscore(noted, "-inf", now - LEFT_S)
            pipe.pexpire(noted, round(LEFT_S * 1000))
            await pipe.execute()

    async def _stop(self) -> None:
        try:
            with self._state.guard():
                await self._leave()
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
