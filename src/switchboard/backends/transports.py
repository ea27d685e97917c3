"""How each kind of transport is opened for a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from switchboard.backends import child, http, stdio
from switchboard.backends.child import Child
from switchboard.backends.description import Backend, Http, Stdio
from switchboard.backends.http import Carrier, Road
from switchboard.backends.watchdog import Watchdog

LAST_WORDS_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class OpenChild:
    """A child on the line. Satisfies `line.Opened`."""

    streams: tuple[Any, Any]
    child: Child
    why: asyncio.Future[str]

    def reason(self) -> str:
        """What the reader objected to, else how the child ended."""
        if self.why.done() and self.why.result():
            return self.why.result()
        return f"it {self.child.obituary}" if self.why.done() or self.child.process.returncode is not None else ""

    async def settled(self) -> None:
        """Give it the moment that an exit code and its last words take."""
        if await self.child.gone(LAST_WORDS_S):
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class OpenHttp:
    """An HTTP connection on the line. Satisfies `line.Opened`."""

    streams: tuple[Any, Any]
    carrier: Carrier

    def reason(self) -> str:
        """HTTP knows of no end."""
        return ""

    async def settled(self) -> None:
        """There is nothing to wait for."""


async def open_child(backend: Backend, watchdog: Watchdog, stack: AsyncExitStack) -> OpenChild:
    """Start a child and talk to it."""
    what = backend.transport
    if not isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    started = await stack.enter_async_context(child.running(backend.name, what, watchdog, backend.patience.stop))
    received, to_send, why = await stack.enter_async_context(stdio.streams(started, backend.bounds.message_bytes))
    return OpenChild((received, to_send), started, why)


async def open_http(
    backend: Backend,
    road: Road,
    stack: AsyncExitStack,
    *,
    resume: str | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> OpenHttp:
    """Talk to a URL."""
    what = backend.transport
    if isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    carrier = Carrier(road, road.choose())
    if isinstance(what, Http):
        opened = http.streamable(what, carrier, backend.bounds.message_bytes, resume=resume, leave=leave)
    else:
        opened = http.sse(what, carrier)
    return OpenHttp(await stack.enter_async_context(opened), carrier)
