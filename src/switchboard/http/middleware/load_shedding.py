"""Load shedding: a worker that cannot keep up says so at once, instead of answering everybody too late.

Two signs, looked at a few times a second: how late the event loop runs its timers, and how much memory the process
holds. Probes are always answered.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.aio import background
from switchboard.http.middleware.guards import PROBES
from switchboard.http.responses import refuse
from switchboard.telemetry.process_usage import resident_bytes

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
RETRY_AFTER: Final = b"2"


class Load:
    """Watches this worker's event loop and memory.

    Args:
        max_lag: seconds a timer may be late; 0 for no limit.
        max_memory: bytes; 0 for no limit.
        memory: what tells the bytes held now.
    """

    def __init__(self, max_lag: float, max_memory: int, memory: Callable[[], int] = resident_bytes) -> None:
        self._max_lag = max_lag
        self._max_memory = max_memory
        self._memory = memory
        self.overload: str | None = None
        """What there is too much of, if anything."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep looking until the context ends."""
        async with background(self._look_for_ever()):
            yield

    async def _look_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LOOK_EVERY_S)
            self._judge(loop.time() - before - LOOK_EVERY_S)

    def _judge(self, lag: float) -> None:
        found = None
        if self._max_lag and lag > self._max_lag:
            found = f"the event loop is {lag:.1f} s behind"
        elif self._max_memory and (held := self._memory()) > self._max_memory:
            found = f"memory is at {held >> 20} MiB"
        if (found is None) != (self.overload is None):
            log.warning("load.exceeded" if found else "load.recovered", reason=found)
        self.overload = found


class LoadShedding:
    """Answers 503 with `Retry-After` while the worker is overloaded."""

    def __init__(self, app: ASGIApp, load: Load, probes: frozenset[str] = PROBES) -> None:
        self.app = app
        self._probes = probes
        self._load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._load.overload is None or scope["type"] == "lifespan" or scope["path"] in self._probes:
            await self.app(scope, receive, send)
            return
        message = f"This worker is overloaded ({self._load.overload}); try again soon"
        await refuse(scope, send, 503, message, headers=((b"retry-after", RETRY_AFTER),))


ENOUGH: Final = 4096
"""Below this, a busy worker runs out of them before it runs out of anything else."""


WANTED: Final = 65_536
"""What we take when we may. No more: children inherit it, and some walk through all that they might have open."""


def raise_limit() -> int:
    """Take as many as we want and the system lets us; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return WANTED if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def shortage(limit: int) -> tuple[str, ...]:
    """What to warn of."""
    if limit >= ENOUGH:
        return ()
    return (
        f"This worker may have {limit} files and sockets open, and each connection and stream takes one: beyond that"
        f" nobody can connect. Raise the hard limit to {ENOUGH} or more (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)",
    )
