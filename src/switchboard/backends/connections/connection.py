"""One connection to a backend, run by one task from its start to its end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import (
    Implementation,
    ServerCapabilities,
)

from switchboard.aio import first_error, first_of, wait_for_event
from switchboard.backends import errors
from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.config import Backend, Http, Stdio
from switchboard.backends.connections.connection_key import GATEWAY, ConnectionKey
from switchboard.backends.connections.handshake import agree
from switchboard.backends.connections.inbound import InboundListener, InboundRequests
from switchboard.backends.connections.inflight import Call, InFlight
from switchboard.backends.connections.protocol import CLOSED, RpcConnection, is_end
from switchboard.backends.connections.roots import AskSession, Roots
from switchboard.backends.connections.transport import OpenTransport, Transport
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.errors import (
    ACCESS_REFUSED,
    BACKEND_UNAVAILABLE,
    SESSION_FORGOTTEN,
    BackendFailure,
    Broken,
    Ended,
    Forgotten,
    Unreachable,
)
from switchboard.errors import plainly
from switchboard.telemetry.metrics import BACKEND_CONNECTIONS

log = structlog.get_logger("switchboard.backends")

EXIT_REASON_S: Final = 1.0
"""How long the end of a connection is waited for, to say why it came."""


PING_S: Final = 0.5
"""How long a child's answer to a ping is waited for."""

REQUEST_IDS: Final = 1 << 31
"""Integers, as every SDK writes them and home-made servers expect them, and small enough for any of these."""

_ids = itertools.count(random.randrange(REQUEST_IDS))  # noqa: S311 (apart from other workers', not secret)
"""For all connections to HTTP servers: a session that several of them resume must not see an id twice."""

WhileOpen = Callable[["Connection"], Awaitable[None]]
"""What goes on while a connection is open; returns when it ends."""


class Connection:
    """One connection.

    Args:
        declared: the client capabilities to declare when it is opened.
        owned: whether all its calls are one client's.
        session: asks that client between calls.
        while_open: goes on while it is open.
    """

    def __init__(
        self,
        backend: Backend,
        open_transport: OpenTransport,
        listener: InboundListener,
        *,
        declared: Params,
        owned: bool,
        info: Implementation,
        session: AskSession | None = None,
        while_open: WhileOpen | None = None,
    ) -> None:
        self.backend = backend
        self._while_open = while_open or Connection.ended
        self.calls = InFlight(owned=owned)
        self.failure: BackendFailure | None = None
        self.last_used = asyncio.get_running_loop().time()
        self.users = 0
        self.key: ConnectionKey | None = None
        """Under which its pool knows it."""
        self.member = ""
        """The name under which the fleet counts it."""
        self.was_open = False
        """Whether it ever was open."""
        self.start_noted = False
        """Whether its pool has counted it as a start that succeeded."""
        self.lost = False
        """Whether it replaces one whose server-side state is gone, and its client has not been told yet."""
        self._roots = Roots(self.calls, session) if owned else None
        self._inbound = InboundRequests(backend.name, self.calls, listener, self._roots)
        self._open_transport = open_transport
        self._listener = listener
        self._declared = declared
        self._info = info
        self._ids = _ids if isinstance(backend.transport, Http) else itertools.count(1)
        self._rpc: RpcConnection | None = None
        self._session: ClientSession | None = None
        self._transport: Transport | None = None
        self._ready = asyncio.Event()
        self._end = asyncio.Event()
        self._stopped = False
        self._starting: asyncio.Timeout | None = None
        self._over = asyncio.Event()

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """What its child wrote to standard error last; nothing where there is no child."""
        return () if self._transport is None else self._transport.stderr_tail

    def tell(self) -> dict[str, Any]:
        """What operators are told of it: its process, whose it is, and how busy it is. Nothing of it is secret."""
        key = self.key
        kind = "" if key is None else "gateway" if key.owner == GATEWAY else key.kind
        idle = asyncio.get_running_loop().time() - self.last_used if self.idle else 0.0
        return {
            "process": None if self._transport is None else self._transport.process,
            "open": self.was_open and not self.over,
            "kind": kind,
            "session": (key.sid if key is not None else None) or "",
            "person": key.user if key is not None else "",
            "calls": len(self.calls),
            "idle_s": int(idle),
        }

    @property
    def over(self) -> bool:
        """Whether it takes no more calls."""
        return self._end.is_set() or self._over.is_set()

    @property
    def idle(self) -> bool:
        """Whether nobody uses it now."""
        return not self.users and not len(self.calls)

    @property
    def rpc(self) -> RpcConnection:
        """Its JSON-RPC connection, once it is ready."""
        if self._rpc is None:
            raise Ended("the connection is not open")
        return self._rpc

    @property
    def version(self) -> str:
        """The protocol version it speaks."""
        return self.rpc.version

    @property
    def session(self) -> ClientSession:
        """The SDK's view of it, once it is ready."""
        if self._session is None:
            raise Ended("the connection is not open")
        return self._session

    @property
    def resumable(self) -> bool:
        """Whether other workers resume its session too, and know what became of it."""
        return self._transport is not None and self._transport.resumable

    @property
    def holds_state(self) -> bool:
        """Whether its server keeps state of one client that ends with it."""
        one_client = self.key is not None and self.key.owner != GATEWAY and not self.key.once
        stateless = self._rpc is not None and self._rpc.modern and isinstance(self.backend.transport, Http)
        return one_client and self.was_open and not self.resumable and not stateless

    @property
    def server_capabilities(self) -> ServerCapabilities:
        """What the backend declared."""
        return self.session.server_capabilities or ServerCapabilities()

    def stop(self) -> None:
        """End it; the task that runs it does so."""
        self._stopped = True
        self._end.set()
        if self._starting is not None and not self._starting.expired():
            self._starting.reschedule(0)

    # -- its task -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, serve until told to stop or until the backend ends it, and close."""
        name = self.backend.name
        try:
            async with AsyncExitStack() as stack:
                transport = await self._start(stack)
                log.info("backend.connection_opened", backend=name, version=self.rpc.version)
                BACKEND_CONNECTIONS.add(name, "opened")
                self.was_open, self.lost = True, transport.replaces
                self._ready.set()
                await first_of(self._while_open(self), self._listen(transport))
                if not self._stopped:
                    await transport.wait_for_reason()
        except BackendFailure as error:
            self.failure = error
        except Exception as error:  # the boundary of a connection: whatever a transport raises ends it
            cause = first_error(error)
            self.failure = cause if isinstance(cause, BackendFailure) else Ended(plainly(cause))
        finally:
            self._finish()

    def _finish(self) -> None:
        if self.failure is None:
            reason = "" if self._transport is None else self._transport.reason()
            self.failure = Ended(reason or ("it was closed" if self._stopped else "it ended the connection"))
        level = log.debug if self._stopped or not self.was_open else log.warning
        level("backend.connection_ended", backend=self.backend.name, reason=str(self.failure))
        self._over.set()
        self._ready.set()

    async def _listen(self, transport: Transport) -> None:
        await transport.listen(self._inbound, lambda: bool(len(self.calls)))
        await self._abandon_session(transport)

    async def _abandon_session(self, transport: Transport) -> None:
        """The backend does not know our session: no worker resumes it any more."""
        await transport.forget()
        self._listener.changed("everything")  # whatever it said in that session, it may offer something else by now
        self.stop()

    async def _start(self, stack: AsyncExitStack) -> Transport:
        if self._stopped:
            raise Unreachable("it was closed")
        try:
            async with asyncio.timeout(self.backend.patience.start) as self._starting:
                try:
                    return await self._greet(stack)
                finally:
                    self._starting = None  # from here on `stop` has no time to shorten
        except TimeoutError as error:
            why = (
                "it was closed"
                if self._stopped
                else f"no answer within {self.backend.patience.start:g} s of starting it"
            )
            raise (Broken if isinstance(self.backend.transport, Stdio) else Unreachable)(why) from error
        except Unreachable:
            if self._transport is not None:
                await self._transport.wait_for_reason()
                if reason := self._transport.reason():
                    raise Broken(reason) from None
            raise

    async def _greet(self, stack: AsyncExitStack) -> Transport:
        """Open the transport and agree with the backend on what the connection needs."""
        transport: Transport = await self._open_transport(stack)
        self._transport = transport
        self._rpc = RpcConnection(
            transport.dispatcher(self._inbound.on_unreadable),
            self._inbound,
            self._next_id,
            self._declared,
            self._info,
            self._end.set,
            transport.direct,
        )
        self._session = await stack.enter_async_context(ClientSession(dispatcher=self._rpc, client_info=self._info))
        await agree(self.backend, transport, self._session, self._rpc)
        await self._ping_child(transport)
        return transport

    async def _ping_child(self, transport: Transport) -> None:
        """Let a child ask for roots before its first call: once it answers a ping it has read that it may."""
        asks = isinstance(self.backend.transport, Stdio) and transport.resumed is None and not self.rpc.modern
        if self._roots is None or not asks or "roots" not in self._declared:
            return
        try:
            async with asyncio.timeout(PING_S):
                await self.rpc.request("ping", None)
        except (MCPError, TimeoutError):
            return  # it knows no ping: then it asks later

    # -- its users ------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until it is open.

        Raises:
            BackendFailure: it did not open, or has ended since.
        """
        await self._ready.wait()
        if self.over:
            raise self.failure or Ended("it ended the connection")

    async def ended(self) -> None:
        """Wait until it takes no more calls."""
        await self._end.wait()

    async def closed(self) -> None:
        """Wait until its connection is closed, and its child gone."""
        await self._over.wait()

    async def request(
        self, method: str, params: Params | None, client_channel: ClientChannel, *, headers: HeaderMap | None = None
    ) -> dict[str, Any]:
        """Pass a request on and wait for its result.

        Raises:
            MCPError: the backend's own error with its name, or why there is no answer.
            BackendFailure: the connection was over before anything was sent.
        """
        await self.ready()
        if self._transport is not None:
            await self._transport.stream_ready()
        attributed = isinstance(self.backend.transport, Http)
        async with self.calls.turn(client_channel, attributed=attributed):
            if self._roots is not None:
                await self._roots.answer_waiting(client_channel)
            call = Call(client_channel, self.backend.patience.call)
            self.last_used = asyncio.get_running_loop().time()
            try:
                with self.calls.in_flight(call):
                    return await self._sent(call, method, params, headers)
            finally:
                self.last_used = asyncio.get_running_loop().time()

    async def _sent(self, call: Call, method: str, params: Params | None, headers: HeaderMap | None) -> dict[str, Any]:
        name, rpc = self.backend.name, self.rpc
        try:
            async with call.clock():
                # A handshake client's level is kept above; a modern one states its own, or wants none.
                level = self.backend.log_level if call.client_channel.era == "handshake" else None
                return await rpc.request(
                    method,
                    params,
                    declared=call.client_channel.capabilities,
                    level=level,
                    on_progress=call.progress,
                    headers=headers,
                )
        except TimeoutError:
            raise errors.timed_out(name, method, self.backend.patience.call) from None
        except MCPError as error:
            await self._check_session(error)
            if is_end(error) and error.message == CLOSED:
                raise errors.unavailable(name, await self._exit_reason(), sent=True) from None
            if error.code == ACCESS_REFUSED and self.backend.credentials.per_person:
                raise errors.access_refused(name, error.message) from None
            if is_end(error) or error.code in (BACKEND_UNAVAILABLE, ACCESS_REFUSED):
                raise errors.unavailable(name, error.message, sent=True) from None
            raise errors.passed_on(name, error) from error

    async def ask(self, method: str, params: Params | None = None) -> dict[str, Any]:
        """Send a request of the gateway's own.

        Raises:
            MCPError: the backend's error, or CONNECTION_CLOSED.
            Forgotten: it does not know the session any more.
        """
        try:
            return await self.rpc.request(method, params)
        except MCPError as error:
            await self._check_session(error)
            raise

    async def notify(self, method: str) -> None:
        """Send a notification of the client's, if the backend listens to such."""
        if self._rpc is not None and not self.over and not self._rpc.modern:
            await self._rpc.notify(method, None)

    async def _check_session(self, error: MCPError) -> None:
        if error.code == SESSION_FORGOTTEN and self._transport is not None:
            await self._abandon_session(self._transport)
            raise Forgotten("its session expired") from error

    async def _exit_reason(self) -> str:
        await wait_for_event(self._over, EXIT_REASON_S + self.backend.patience.stop)
        return str(self.failure or "it ended the connection")

    def _next_id(self) -> int:
        return next(self._ids) % REQUEST_IDS
