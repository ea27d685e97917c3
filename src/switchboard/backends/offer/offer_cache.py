"""What a backend offered last, for every worker: a new one answers from it at once, and all change together.

The copy in Redis is written by the one worker that asks the backend (`leader`), under its lease, and the others read it
before they are asked again. A copy belongs to one description of the backend: after a change of that it is not found
any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

import structlog
from mcp_types import ServerCapabilities
from pydantic import BaseModel, ValidationError

from switchboard.aio import background, wait_for_event
from switchboard.backends.config import Backend
from switchboard.backends.health import Health
from switchboard.backends.offer.offer import LISTS, BackendOffer, offered
from switchboard.backends.offer.sanitize import Unoffered
from switchboard.errors import StateUnavailable
from switchboard.fleet import Lease
from switchboard.fleet.leader import LeaseLeader
from switchboard.state import State
from switchboard.state.keys import OFFER_LIFE_MS

READ_WAIT_S: Final = 0.5
"""How long whoever asks waits for a copy that is being read."""

WRITTEN: Final = "1"
REFRESH: Final = "again"
VACANT: Final = "vacant"

# KEYS lead copy · ARGV epoch copy copy_ms
_WRITE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""

log = structlog.get_logger("switchboard.backends")


class OfferCache:
    """The shared copy of one backend's offer and health.

    Args:
        take: is given every copy that is read.
        refresh: called when another worker asks for a refresh.
        jitter: gives numbers between 0 and 1.
        is_available: whether this worker could ask it now.
    """

    def __init__(
        self,
        state: State,
        backend: Backend,
        worker: str,
        take: Callable[[BackendOffer, Health], None],
        refresh: Callable[[], None],
        jitter: Callable[[], float],
        is_available: Callable[[], Awaitable[bool]],
    ) -> None:
        self._state = state
        self._backend = backend
        self._take = take
        self._refresh = refresh
        self._key = state.keys.offer(backend.name, backend.digest)
        self._news = asyncio.Event()
        self._read = asyncio.Event()
        self._vacant = asyncio.Event()
        self._lease = Lease(state, state.keys.offer_lead(backend.name, backend.digest), worker)
        self._write = state.redis.register_script(_WRITE)
        self.leader = LeaseLeader(self._lease, self._vacant, self._announce_vacant, jitter, is_available)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the copy, before anything else and whenever it was written anew."""
        async with background(self._follow()):
            await self.current()
            yield

    async def current(self) -> None:
        """Wait, for a moment at most, until what was announced is read."""
        await wait_for_event(self._read, READ_WAIT_S)

    async def write(self, offer: BackendOffer, health: Health) -> None:
        """Keep what this worker found, if it leads. While Redis is away the others wait for it."""
        try:
            with self._state.guard():
                done = await self._write(
                    keys=[self._lease.key, self._key],
                    args=[self._lease.epoch, written(offer, health), OFFER_LIFE_MS],
                )
            if done:
                await self._state.pubsub.publish(self._key, WRITTEN)
        except StateUnavailable as error:
            log.info(error.event, error=str(error), lost="a backend's offer for the other workers")

    async def ask(self) -> None:
        """Have the leader refresh.

        Raises:
            StateUnavailable: Redis is away.
        """
        await self._state.pubsub.publish(self._key, REFRESH)

    async def _announce_vacant(self) -> None:
        await self._state.pubsub.publish(self._key, VACANT)

    async def _follow(self) -> None:
        while True:
            try:
                async with self._state.pubsub.subscribed(self._key, self._on_news):
                    self._read.clear()
                    self._news.set()
                    while True:
                        await self._news.wait()
                        self._news.clear()
                        await self._read_copy()
            except StateUnavailable as error:
                self._read.set()
                log.info(error.event, error=str(error))

    def _on_news(self, payload: str) -> None:
        """Take what another worker said; nothing means that any of it may have been missed."""
        if payload in (REFRESH, ""):
            self._refresh()
        if payload in (VACANT, ""):
            self._vacant.set()
        if payload in (WRITTEN, ""):
            self._read.clear()
            self._news.set()

    async def _read_copy(self) -> None:
        try:
            with self._state.guard():
                stored = await self._state.redis.get(self._key)
            if stored is not None:
                # Thousands of definitions take a while to read; other requests are served meanwhile.
                self._take(*await asyncio.to_thread(read, self._backend, str(stored)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.info("backend.offer_unreadable", backend=self._backend.name, error=type(error).__name__)
        finally:
            self._read.set()


def written(offer: BackendOffer, health: Health) -> str:
    """What is known, as JSON."""
    lists = {kind: [_dumped(item) for item in getattr(offer, kind)] for kind, *_ in LISTS}
    more = {
        "instructions": offer.instructions,
        "modern": offer.modern,
        "capabilities": _dumped(offer.capabilities),
        "health": asdict(health),
        "unoffered": [asdict(one) for one in offer.unoffered],
    }
    return json.dumps({**lists, **more}, separators=(",", ":"))


def read(backend: Backend, stored: str) -> tuple[BackendOffer, Health]:
    """What is known, from JSON.

    Raises:
        ValueError, KeyError, TypeError: it is another version's, perhaps.
    """
    data = json.loads(stored)
    try:
        found: dict[str, Any] = {
            kind: [form.model.model_validate(item, by_name=False) for item in data[kind]] for kind, *_, form in LISTS
        }
        able = ServerCapabilities.model_validate(data["capabilities"], by_name=False)
    except ValidationError as error:
        raise ValueError("not an offer") from error
    offer = offered(
        backend,
        found,
        instructions=data["instructions"],
        modern=data["modern"],
        capabilities=able,
        unoffered=tuple(Unoffered(**one) for one in data["unoffered"]),
    )
    return offer, Health(**data["health"])


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)
