"""The session that an HTTP backend keeps for one of ours: made by one worker, resumed by all.

Kept in Redis under the connection's tag. A worker that finds none makes it, under a lease, while the others wait: with
a session for each worker the backend would keep different state for each. A session that is over leaves a mark, so that
the worker that makes the next one knows, once, that state was lost.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog

from switchboard.aio import background
from switchboard.backends.config import Backend
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.errors import Unreachable
from switchboard.errors import StateUnavailable
from switchboard.fleet import Lease
from switchboard.state import State
from switchboard.state.keys import LINE_LIFE_MS

POLL_S: Final = 0.05
LOST_MARK: Final = "lost"

# KEYS upstream · ARGV session lost life_ms
FORGET: Final = """
local stored = redis.call('GET', KEYS[1])
if not stored or not string.find(stored, ARGV[1], 1, true) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

log = structlog.get_logger("switchboard.backends")


@dataclass(frozen=True, slots=True)
class BackendSession:
    """A session at a backend."""

    session: str
    url: str
    """Which of the backend's URLs knows it."""

    result: dict[str, Any]
    """What `initialize` answered."""

    person: str = ""
    """Whose credentials it was made with; empty for the gateway's."""


class SessionStore:
    """Where the backend's session of one connection is kept."""

    def __init__(self, state: State, backend: Backend, key: ConnectionKey, worker: str) -> None:
        given = (key.tag, backend.place, key.capabilities)
        self.lost = False
        """Whether the session that is to be made takes the place of one that is over."""
        self.state = state
        self.backend = backend
        self.key = key
        self.worker = worker
        self._key = state.keys.line_upstream(*given)
        self._opening_lease = Lease(state, state.keys.line_making(*given), worker)
        self._member = json.dumps([key.tag, key.capabilities, key.sid])
        self._touched = time.monotonic()

    async def find(self) -> BackendSession | None:
        """The session, or `None` for whoever is to make it.

        Raises:
            Unreachable: it cannot be known now.
        """
        patience = self.backend.patience.start
        try:
            async with asyncio.timeout(patience):
                return await self._find()
        except TimeoutError as error:
            raise Unreachable(f"another worker did not finish opening its session within {patience:g} s") from error
        except StateUnavailable as error:
            raise Unreachable("shared state cannot be reached now, which knows its session") from error

    async def _find(self) -> BackendSession | None:
        while True:
            ours = await self._opening_lease.claim()  # before looking: whoever had it may have made the session by now
            with self.state.guard():
                stored = await self.state.redis.get(self._key)
            if stored and stored != LOST_MARK:
                if ours:
                    await self._opening_lease.release()
                return BackendSession(**json.loads(stored))
            if ours:
                self.lost = stored == LOST_MARK
                return None
            await asyncio.sleep(POLL_S)

    async def put(self, session: BackendSession | None) -> None:
        """Keep the session for everybody; `None` if there came to be none."""
        with self.state.guard():
            if session is not None:
                await self.state.redis.set(self._key, json.dumps(asdict(session)), px=LINE_LIFE_MS)
                await self._note_use()
        await self._opening_lease.release()

    async def forget(self, session: str) -> None:
        """The backend does not know it any more."""
        with self.state.guard():
            await self.state.redis.eval(FORGET, 1, self._key, json.dumps(session), LOST_MARK, LINE_LIFE_MS)

    @asynccontextmanager
    async def kept(self, used: Callable[[], float]) -> AsyncIterator[None]:
        """While a connection is open: renew the lease until the session is made, and then tell when it was used.

        Args:
            used: when the connection was used last, by the monotonic clock.
        """
        async with background(self._keep(used)):
            yield

    async def _keep(self, used: Callable[[], float]) -> None:
        while True:
            await asyncio.sleep(self.state.timing.renew_s)
            try:
                with self.state.guard():
                    if self._opening_lease.held:
                        await self._opening_lease.claim()
                    elif used() > self._touched:
                        self._touched = time.monotonic()
                        await self.state.redis.pexpire(self._key, LINE_LIFE_MS)
                        await self._note_use()
            except StateUnavailable as error:
                log.info(error.event, error=str(error))

    async def _note_use(self) -> None:
        await self.state.redis.zadd(self.state.keys.upstreams(self.backend.place), {self._member: self.state.clock()})
        await self.state.redis.pexpire(self.state.keys.upstreams(self.backend.place), LINE_LIFE_MS)
