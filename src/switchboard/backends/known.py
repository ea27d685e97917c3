"""What a backend offered last, for every worker: a cold one answers from it at once, and all change together.

The copy in Redis is written by whichever worker found something new, which then says so; the others read it before they
are asked again. A copy belongs to one description of the backend: after a change of that it is not found any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from mcp_types import ServerCapabilities
from pydantic import BaseModel, ValidationError

from switchboard.backends.description import Backend
from switchboard.backends.offer import LISTS, BackendOffer, offered
from switchboard.errors import StateUnavailable
from switchboard.state import State
from switchboard.state.keys import OFFER_LIFE_MS

WAIT_S: Final = 0.5
"""How long whoever asks waits for a copy that is being read."""

log = structlog.get_logger("switchboard.backends")


class Known:
    """The shared copy of one backend's offer.

    Args:
        take: is given every copy that is read.
    """

    def __init__(self, state: State, backend: Backend, take: Callable[[BackendOffer], None]) -> None:
        self._state = state
        self._backend = backend
        self._take = take
        self._key = state.keys.offer(backend.name, hashlib.sha256(repr(backend).encode()).hexdigest()[:16])
        self._news = asyncio.Event()
        self._read = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the copy, before anything else and whenever another worker wrote it."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._follow())
            try:
                await self.current()
                yield
            finally:
                reading.cancel()

    async def current(self) -> None:
        """Wait, for a moment at most, until what was announced is read."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._read.wait()
        except TimeoutError:
            return

    async def write(self, offer: BackendOffer) -> None:
        """Keep an offer and tell the other workers. Redis being away only makes them find out by themselves."""
        try:
            with self._state.guard():
                await self._state.redis.set(self._key, written(offer), px=OFFER_LIFE_MS)
            await self._state.hub.publish(self._key, "1")
        except StateUnavailable as error:
            log.info("redis.away", error=str(error), lost="a backend's offer for the other workers")

    async def _follow(self) -> None:
        while True:
            try:
                async with self._state.hub.subscribed(self._key, self._hear):
                    self._hear("")
                    while True:
                        await self._news.wait()
                        self._news.clear()
                        await self._look()
            except StateUnavailable as error:
                self._read.set()
                log.info("redis.away", error=str(error))

    def _hear(self, _payload: str) -> None:
        self._read.clear()
        self._news.set()

    async def _look(self) -> None:
        try:
            with self._state.guard():
                stored = await self._state.redis.get(self._key)
            if stored is not None:
                self._take(read(self._backend, str(stored)))
        except (ValueError, KeyError, TypeError) as error:
            log.info("backend.copy_not_understood", backend=self._backend.name, error=type(error).__name__)
        finally:
            self._read.set()


def written(offer: BackendOffer) -> str:
    """An offer as JSON."""
    lists = {kind: [_dumped(item) for item in getattr(offer, kind)] for kind, *_ in LISTS}
    more = {
        "instructions": offer.instructions,
        "modern": offer.modern,
        "capabilities": _dumped(offer.capabilities),
    }
    return json.dumps({**lists, **more}, separators=(",", ":"))


def read(backend: Backend, stored: str) -> BackendOffer:
    """The offer in JSON.

    Raises:
        ValueError, KeyError, TypeError: it is not one: another version's, perhaps.
    """
    data = json.loads(stored)
    try:
        found: dict[str, Any] = {
            kind: [form.model.model_validate(item, by_name=False) for item in data[kind]] for kind, *_, form in LISTS
        }
        able = ServerCapabilities.model_validate(data["capabilities"], by_name=False)
    except ValidationError as error:
        raise ValueError("not an offer") from error
    return offered(backend, found, instructions=data["instructions"], modern=data["modern"], capabilities=able)


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)
