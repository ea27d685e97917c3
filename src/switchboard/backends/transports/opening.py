"""How each kind of transport is opened for a connection, with `${user}` and `${session}` replaced."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

import anyio
import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID
from mcp.shared.dispatcher import Dispatcher
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import InitializeResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.backends.config import Backend, Http, Sse, Stdio, Transport
from switchboard.backends.connections.connection_key import GATEWAY, ConnectionKey
from switchboard.backends.connections.handshake import OTHER_TRANSPORT
from switchboard.backends.connections.protocol import Inbound
from switchboard.backends.errors import AccessRefused, Unreachable
from switchboard.backends.transports import child, http
from switchboard.backends.transports.child import Child
from switchboard.backends.transports.direct import DirectRequests
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.http import FailoverTransport
from switchboard.backends.transports.session_store import BackendSession, SessionStore
from switchboard.backends.transports.session_stream import SessionStream
from switchboard.backends.transports.stdio import StdioDispatcher
from switchboard.backends.transports.stream_relay import LocalRelay, SharedRelay
from switchboard.backends.transports.watchdog import Watchdog
from switchboard.config.placeholders import names_in, replaced
from switchboard.errors import CredentialUnavailable
from switchboard.outbound_auth.credentials import PersonCredentials

EXIT_WAIT_S: Final = 0.5

STREAM_READY_S: Final = 1.0
"""How long the first call of a new session waits for the session's own stream: what is said before it is lost."""


@dataclass(frozen=True, slots=True)
class OpenChild:
    """A child, started. Satisfies `Transport`.

    Args:
        max_bytes: bytes of a message.
    """

    child: Child
    max_bytes: int
    direct: None = None
    resumed: InitializeResult | None = None
    resumable: bool = False
    replaces: bool = False

    def dispatcher(self, on_unreadable: Callable[[Exception], object]) -> StdioDispatcher:
        """Calls over its pipes."""
        return StdioDispatcher(self.child, self.max_bytes, on_unreadable)

    async def on_negotiated(self, _result: InitializeResult | None) -> None:
        """A child has no session beyond its own life."""

    async def listen(self, _inbound: Inbound, _busy: Callable[[], bool]) -> None:
        """All it says comes on its standard output."""
        await anyio.sleep_forever()

    async def stream_ready(self) -> None:
        """It has no stream of its own."""

    async def forget(self) -> None:
        """Nor can it forget one."""

    def reason(self) -> str:
        """How its output or the child itself ended."""
        if self.child.broken:
            return "its pipe broke"
        return f"it {self.child.exit_reason}" if self.child.output_over or self.child.returncode is not None else ""

    @property
    def process(self) -> int:
        """The child's."""
        return self.child.pid

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """The child's."""
        return self.child.stderr.lines

    async def wait_for_reason(self) -> None:
        """Give it the moment that an exit code and the end of its standard error take."""
        await self.child.gone(EXIT_WAIT_S)


@dataclass(slots=True)
class OpenHttp:
    """Streamable HTTP or HTTP+SSE, opened. Satisfies `Transport`."""

    streams: tuple[Any, Any]
    failover: FailoverTransport
    max_bytes: int
    client: httpx2.AsyncClient | None = None
    """For the stream of a session; a transport without such streams needs none."""

    store: SessionStore | None = None
    resumed: InitializeResult | None = None
    kept: bool = False
    """Whether the session may be used by others, or later."""

    direct: DirectRequests | None = None
    version: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the session's own stream was opened, or was not."""

    busy: Callable[[], bool] = lambda: False
    """Whether a call is in flight."""

    def dispatcher(self, on_unreadable: Callable[[Exception], object]) -> Dispatcher[Any]:
        """The SDK's, over its streams."""

        async def hear(error: Exception) -> None:
            on_unreadable(error)

        return JSONRPCDispatcher(*self.streams, on_stream_exception=hear)

    @property
    def resumable(self) -> bool:
        """Whether what is known of the session is known to all workers."""
        return self.store is not None

    @property
    def replaces(self) -> bool:
        """Whether its session takes the place of one that is over."""
        return self.store is not None and self.store.lost

    @property
    def process(self) -> None:
        """None: it runs elsewhere."""
        return None

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """HTTP has no standard error."""
        return ()

    def reason(self) -> str:
        """HTTP knows of no end."""
        return ""

    async def wait_for_reason(self) -> None:
        """There is nothing to wait for."""

    async def on_negotiated(self, result: InitializeResult | None) -> None:
        """Keep a new session for the other workers."""
        self.version = result.protocol_version if result is not None else ""
        if self.store is None:
            return
        if result is None or self.failover.session is None:
            await self.store.put(None)
            return
        dumped = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        await self.store.put(BackendSession(self.failover.session, str(self.failover.url), dumped, self._person))
        self.kept = self.store.state.kind != "memory://"

    async def listen(self, inbound: Inbound, busy: Callable[[], bool]) -> None:
        """Hear what belongs to no request; returns when the session is over."""
        self.busy = busy
        if self.client is None or not self._has_stream:
            await anyio.sleep_forever()
            return
        store = self.store
        relay = (
            LocalRelay() if store is None else SharedRelay(store.state, store.backend.place, store.key, store.worker)
        )
        late = store is not None and store.key.kind == "shared"
        stream = SessionStream(
            self.client, self.failover, self.version, self.max_bytes, relay, inbound, self.tried, late=late
        )
        await stream.run(busy)

    @property
    def _person(self) -> str:
        return "" if self.failover.credentials is None else self.failover.credentials.person

    @property
    def _has_stream(self) -> bool:
        modern = self.version in MODERN_PROTOCOL_VERSIONS
        return self.client is not None and self.failover.session is not None and not modern

    async def stream_ready(self) -> None:
        """The first calls of a new session wait for its stream; a server that does not answer delays one, not all."""
        if not self.tried.is_set() and self._has_stream and self.resumed is None:
            try:
                async with asyncio.timeout(STREAM_READY_S):
                    await self.tried.wait()
            except TimeoutError:
                self.tried.set()

    async def forget(self) -> None:
        """Have the next connection make a new session."""
        session, self.failover.session = self.failover.session, None
        if self.store is not None and session is not None:
            await self.store.forget(session)


async def open_child(
    backend: Backend,
    what: Transport,
    watchdog: Watchdog,
    is_quiet: Callable[[], bool],
    credentials: PersonCredentials | None,
    stack: AsyncExitStack,
) -> OpenChild:
    """Start a child and talk to it.

    Raises:
        AccessRefused: there is no credential for its environment.
    """
    if not isinstance(what, Stdio):
        raise TypeError(type(what).__name__)
    if credentials is not None:
        try:
            what = replace(what, env={**what.env, **await credentials.environment()})
        except CredentialUnavailable as error:
            raise AccessRefused(str(error)) from error
    started = await stack.enter_async_context(
        child.running(backend.name, what, watchdog, backend.patience.stop, is_quiet)
    )
    return OpenChild(started, backend.bounds.message_bytes)


async def open_sse(
    backend: Backend,
    what: Transport,
    endpoints: Endpoints,
    credentials: PersonCredentials | None,
    stack: AsyncExitStack,
) -> OpenHttp:
    """Talk to a server of the transport with two endpoints."""
    if isinstance(what, Stdio | Http):
        raise TypeError(type(what).__name__)
    failover = FailoverTransport(endpoints, endpoints.choose(), credentials=credentials)
    try:
        streams = await stack.enter_async_context(http.sse(what, failover))
    except Exception as error:  # the SDK's error has the status alone, and a link to its library's pages
        said = failover.complaint
        if not said:
            raise
        if failover.refused:
            raise AccessRefused(said) from error
        hint = "; if it speaks Streamable HTTP, state `type: http`" if OTHER_TRANSPORT.search(said) else ""
        raise Unreachable(f"{said}{hint}") from error
    return OpenHttp(streams, failover, backend.bounds.message_bytes)


async def open_http(
    backend: Backend,
    what: Transport,
    endpoints: Endpoints,
    store: SessionStore | None,
    credentials: PersonCredentials | None,
    stack: AsyncExitStack,
) -> OpenHttp:
    """Talk to a URL, in a session that is there already if `store` knows one."""
    if not isinstance(what, Http):
        raise TypeError(type(what).__name__)
    found = None if store is None else await store.find()
    failover = FailoverTransport(
        endpoints,
        endpoints.choose() if found is None else httpx2.URL(found.url),
        keeps_stream=True,
        credentials=credentials,
    )
    headers = {**what.headers, **({MCP_SESSION_ID: found.session} if found else {})}
    client = await stack.enter_async_context(http.client(failover, headers))
    opened = OpenHttp((None, None), failover, backend.bounds.message_bytes, client, store)
    opened.direct = DirectRequests(failover, client, opened.max_bytes)
    if found is not None:
        failover.session = found.session
        opened.resumed = InitializeResult.model_validate(found.result, by_name=False)
        opened.version, opened.kept = opened.resumed.protocol_version, True
    if store is not None:
        await stack.enter_async_context(store.kept(lambda: monotonic() if opened.busy() else failover.last_used))
    transport = http.streamable(failover, client, opened.max_bytes, leave=lambda: opened.kept)
    opened.streams = await stack.enter_async_context(transport)
    return opened


def for_connection(what: Transport, key: ConnectionKey) -> Transport:
    """The transport of a key's connection. The gateway's own connection has `discovery` for both."""
    whose = {"user": _digest(key.user), "session": _digest(key.owner)}
    if key.owner == GATEWAY:
        whose = dict.fromkeys(whose, GATEWAY)
    if isinstance(what, Stdio):
        return replace(
            what,
            args=tuple(replaced(each, whose) for each in what.args),
            env={name: replaced(value, whose) for name, value in what.env.items()},
            cwd=None if what.cwd is None else replaced(what.cwd, whose),
            own_cwd=what.cwd is not None and bool(names_in(what.cwd)),
        )
    return replace(what, headers={name: replaced(value, whose) for name, value in what.headers.items()})


def for_nobody(what: Http | Sse) -> dict[str, str]:
    """The headers of a request that is made for nobody in particular: those that are the same for everybody."""
    return {name: value for name, value in what.headers.items() if not names_in(value)}


def _digest(whose: str) -> str:
    return hashlib.sha256(whose.encode()).hexdigest()[:32]
