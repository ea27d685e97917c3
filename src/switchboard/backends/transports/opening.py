"""How each kind of transport is opened for a line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import anyio
import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID
from mcp_types import InitializeResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.backends.config import Backend, Http, Stdio, Transport
from switchboard.backends.connections.handshake import OTHER_TRANSPORT
from switchboard.backends.connections.protocol import Inbound
from switchboard.backends.errors import Broken, Unreachable
from switchboard.backends.transports import child, http, stdio
from switchboard.backends.transports.child import Child
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.http import FailoverTransport
from switchboard.backends.transports.session_store import SessionStore, Slot
from switchboard.backends.transports.session_stream import SessionStream
from switchboard.backends.transports.stream_relay import LocalRelay, SharedRelay
from switchboard.backends.transports.watchdog import Watchdog

REFUSED: Final = re.compile(r"HTTP (?:401|403|407)\b")

LAST_WORDS_S: Final = 0.5

HEARD_S: Final = 1.0
"""How long the first call of a new session waits for the session's own stream: what is said before it is lost."""


@dataclass(frozen=True, slots=True)
class OpenChild:
    """A child on the line. Satisfies `opened.Opened`."""

    streams: tuple[Any, Any]
    child: Child
    why: asyncio.Future[str]
    resumed: InitializeResult | None = None
    resumable: bool = False
    replaces: bool = False

    async def agreed(self, _result: InitializeResult | None) -> None:
        """A child has no session beyond its own life."""

    async def listen(self, _inbound: Inbound, _busy: Callable[[], bool]) -> None:
        """All it says comes on its standard output."""
        await anyio.sleep_forever()

    async def heard(self) -> None:
        """From its start."""

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
    """An HTTP connection on the line. Satisfies `opened.Opened`."""

    streams: tuple[Any, Any]
    carrier: FailoverTransport
    most: int
    client: httpx2.AsyncClient | None = None
    """For the stream of a session; a transport without such streams needs none."""

    slot: Slot | None = None
    resumed: InitializeResult | None = None
    kept: bool = False
    """Whether the session may be used by others, or later."""

    version: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the session's own stream was opened, or was not."""

    busy: Callable[[], bool] = lambda: False
    """Whether a call is in flight."""

    @property
    def resumable(self) -> bool:
        """Whether what is known of the session is known to all workers."""
        return self.slot is not None

    @property
    def replaces(self) -> bool:
        """Whether its session takes the place of one that is over."""
        return self.slot is not None and self.slot.lost

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
        self.version = result.protocol_version if result is not None else ""
        if self.slot is None:
            return
        if result is None or self.carrier.session is None:
            await self.slot.made(None)
            return
        dumped = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        await self.slot.made(SessionStore(self.carrier.session, str(self.carrier.url), dumped))
        self.kept = self.slot.state.kind != "memory://"

    async def listen(self, inbound: Inbound, busy: Callable[[], bool]) -> None:
        """Hear what belongs to no request; returns when the session is over."""
        self.busy = busy
        if self.client is None or not self._has_stream:
            await anyio.sleep_forever()
            return
        slot = self.slot
        relay = LocalRelay() if slot is None else SharedRelay(slot.state, slot.backend.place, slot.key, slot.worker)
        late = slot is not None and slot.key.kind == "shared"
        stream = SessionStream(
            self.client, self.carrier, self.version, self.most, relay, inbound, self.tried, late=late
        )
        await stream.run(busy)

    @property
    def _has_stream(self) -> bool:
        modern = self.version in MODERN_PROTOCOL_VERSIONS
        return self.client is not None and self.carrier.session is not None and not modern

    async def heard(self) -> None:
        """A new session's first calls wait for its stream; whoever holds its head back makes one wait, not all."""
        if self._has_stream and self.resumed is None:
            try:
                async with asyncio.timeout(HEARD_S):
                    await self.tried.wait()
            except TimeoutError:
                self.tried.set()

    async def forget(self) -> None:
        """Have the next line make a new one."""
        session, self.carrier.session = self.carrier.session, None
        if self.slot is not None and session is not None:
            await self.slot.forget(session)


async def open_child(
    backend: Backend, what: Transport, watchdog: Watchdog, is_quiet: Callable[[], bool], stack: AsyncExitStack
) -> OpenChild:
    """Start a child and talk to it."""
    if not isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    started = await stack.enter_async_context(
        child.running(backend.name, what, watchdog, backend.patience.stop, is_quiet)
    )
    received, to_send, why = await stack.enter_async_context(stdio.streams(started, backend.bounds.message_bytes))
    return OpenChild((received, to_send), started, why)


async def open_sse(backend: Backend, what: Transport, endpoints: Endpoints, stack: AsyncExitStack) -> OpenHttp:
    """Talk to a server of the transport with two endpoints."""
    if isinstance(what, Stdio | Http):
        raise TypeError(type(what).__name__)
    carrier = FailoverTransport(endpoints, endpoints.choose())
    try:
        streams = await stack.enter_async_context(http.sse(what, carrier))
    except Exception as error:  # the SDK's error has the status alone, and a link to its library's pages
        said = carrier.complaint
        if not said:
            raise
        if REFUSED.match(said):
            raise Broken(said) from error
        hint = "; if it speaks Streamable HTTP, state `type: http`" if OTHER_TRANSPORT.search(said) else ""
        raise Unreachable(f"{said}{hint}") from error
    return OpenHttp(streams, carrier, backend.bounds.message_bytes)


async def open_http(
    backend: Backend, what: Transport, endpoints: Endpoints, slot: Slot | None, stack: AsyncExitStack
) -> OpenHttp:
    """Talk to a URL, in a session that is there already if `slot` knows one."""
    if not isinstance(what, Http):
        raise TypeError(type(what).__name__)
    found = None if slot is None else await slot.find()
    carrier = FailoverTransport(endpoints, endpoints.choose() if found is None else httpx2.URL(found.url), listens=True)
    headers = {**what.headers, **({MCP_SESSION_ID: found.session} if found else {})}
    client = await stack.enter_async_context(http.client(carrier, headers))
    opened = OpenHttp((None, None), carrier, backend.bounds.message_bytes, client, slot)
    if found is not None:
        carrier.session = found.session
        opened.resumed = InitializeResult.model_validate(found.result, by_name=False)
        opened.version, opened.kept = opened.resumed.protocol_version, True
    if slot is not None:
        await stack.enter_async_context(slot.kept(lambda: monotonic() if opened.busy() else carrier.used))
    transport = http.streamable(carrier, client, opened.most, leave=lambda: opened.kept)
    opened.streams = await stack.enter_async_context(transport)
    return opened
