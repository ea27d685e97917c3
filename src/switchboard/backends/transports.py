"""How each kind of transport is opened for a line."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from mcp_types import InitializeResult

from switchboard.backends import child, http, stdio
from switchboard.backends.child import Child
from switchboard.backends.description import Backend, Http, Stdio
from switchboard.backends.http import Carrier, Road
from switchboard.backends.upstream import Slot, Upstream
from switchboard.backends.watchdog import Watchdog

LAST_WORDS_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class OpenChild:
    """A child on the line. Satisfies `line.Opened`."""

    streams: tuple[Any, Any]
    child: Child
    why: asyncio.Future[str]
    resumed: InitializeResult | None = None
    forgotten: bool = False

    async def agreed(self, _result: InitializeResult | None) -> None:
        """A child has no session beyond its own life."""

    async def forget(self) -> None:
        """Nor can it forget one."""

    def reason(self) -> str:
        """What the reader objected to, else how the child ended."""
        if self.why.done() and self.why.result():
            return self.why.result()
        return f"it {self.child.obituary}" if self.why.done() or self.child.process.returncode is not None else ""

    @property
    def words(self) -> tuple[str, ...]:
        """The child's last ones."""
        return self.child.words.lines

    async def settled(self) -> None:
        """Give it the moment that an exit code and its last words take."""
        if await self.child.gone(LAST_WORDS_S):
            await asyncio.sleep(0)


@dataclass(slots=True)
class OpenHttp:
    """An HTTP connection on the line. Satisfies `line.Opened`."""

    streams: tuple[Any, Any]
    carrier: Carrier
    slot: Slot | None = None
    resumed: InitializeResult | None = None
    kept: bool = False
    """Whether other workers may be using its session."""

    @property
    def forgotten(self) -> bool:
        """Whether the backend said that it does not know the session."""
        return self.carrier.lost

    @property
    def words(self) -> tuple[str, ...]:
        """HTTP has no standard error."""
        return ()

    def reason(self) -> str:
        """HTTP knows of no end."""
        return ""

    async def settled(self) -> None:
        """There is nothing to wait for."""

    async def agreed(self, result: InitializeResult | None) -> None:
        """Keep a new session for the other workers."""
        if self.slot is None or self.resumed is not None:
            return
        if result is None or self.carrier.session is None:
            await self.slot.made(None)
            return
        dumped = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        await self.slot.made(Upstream(self.carrier.session, str(self.carrier.url), dumped))
        self.kept = True

    async def forget(self) -> None:
        """Have the next line make a new one."""
        if self.slot is not None and self.carrier.session is not None:
            await self.slot.forget(self.carrier.session)


async def open_child(backend: Backend, watchdog: Watchdog, stack: AsyncExitStack) -> OpenChild:
    """Start a child and talk to it."""
    what = backend.transport
    if not isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    started = await stack.enter_async_context(child.running(backend.name, what, watchdog, backend.patience.stop))
    received, to_send, why = await stack.enter_async_context(stdio.streams(started, backend.bounds.message_bytes))
    return OpenChild((received, to_send), started, why)


async def open_http(backend: Backend, road: Road, slot: Slot | None, stack: AsyncExitStack) -> OpenHttp:
    """Talk to a URL, in a session that is there already if `slot` knows one."""
    what = backend.transport
    if isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    found = None if slot is None else await slot.find()
    carrier = Carrier(road, road.choose() if found is None else httpx2.URL(found.url))
    opened = OpenHttp((None, None), carrier, slot)
    if found is not None:
        carrier.session = found.session
        opened.resumed = InitializeResult.model_validate(found.result, by_name=False)
    try:
        if isinstance(what, Http):
            resume = None if found is None else found.session
            transport = http.streamable(
                what, carrier, backend.bounds.message_bytes, resume=resume, leave=lambda: opened.kept
            )
        else:
            transport = http.sse(what, carrier)
        opened.streams = await stack.enter_async_context(transport)
    except BaseException:
        if slot is not None and found is None:
            await slot.made(None)
        raise
    return opened
