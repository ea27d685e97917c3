"""A worker's name and heartbeat."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from switchboard.errors import StateUnavailable
from switchboard.state.keys import RENEW_S, WORKER_LIFE_MS

if TYPE_CHECKING:
    from switchboard.state.connect import State

log = structlog.get_logger("switchboard.state")


def mint_worker_id() -> str:
    """A fresh id; call it in the process that will use it, never before a fork."""
    return "w" + secrets.token_hex(4)


class Heartbeat:
    """Keeps `worker:<id>` alive while the worker is, and tells whether another one is."""

    def __init__(self, state: State, worker: str, version: str) -> None:
        self._state = state
        self._key = state.keys.worker(worker)
        self._fields: dict[Any, Any] = {"version": version, "started": str(int(time.time()))}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Beat until the context ends, then remove the key."""
        await self._beat()
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._keep_beating())
            try:
                yield
            finally:
                beating.cancel()
                await self._stop()

    async def alive(self, worker: str) -> bool:
        """Whether the worker of that id has a heartbeat younger than WORKER_LIFE_MS."""
        with self._state.guard():
            return bool(await self._state.redis.exists(self._state.keys.worker(worker)))

    async def _beat(self) -> None:
        with self._state.guard():
            async with self._state.redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._key, mapping=self._fields)
                pipe.pexpire(self._key, WORKER_LIFE_MS)
                await pipe.execute()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self._beat()
            except StateUnavailable as error:
                log.warning(error.event, error=str(error))

    async def _stop(self) -> None:
        try:
            with self._state.guard():
                await self._state.redis.delete(self._key)
        except StateUnavailable as error:
            log.warning(error.event, error=str(error))
