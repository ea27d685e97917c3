"""A backend as the gateway calls it. Satisfies `switchboard.gateway.Provider`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol

import anyio
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ServerEvent
from mcp_types import METHOD_NOT_FOUND, Implementation
from pydantic import BaseModel

from switchboard.aio import background
from switchboard.backends.caller import Params, RequestClient
from switchboard.backends.config import Backend, Sse, Stdio, urls
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey, one_for_all
from switchboard.backends.connections.connection_quota import FleetConnectionQuota, Unlimited
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.connections.roots_changes import pass_on_roots_changes
from switchboard.backends.errors import BACKEND_UNAVAILABLE, Unreachable
from switchboard.backends.forwarding import Forwarding
from switchboard.backends.gateway_connection import DISCOVERY, GatewayConnection
from switchboard.backends.health import Health
from switchboard.backends.offer.discovery import OfferDiscovery
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.offer.resource_subscriptions import LOOK_S, Interest, Stream, follow
from switchboard.backends.offer.resource_updates import ResourceUpdates
from switchboard.backends.placeholders import for_line
from switchboard.backends.routing import Routing, Use
from switchboard.backends.session_reaper import SessionReaper
from switchboard.backends.transports import opening
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.session_store import Slot
from switchboard.backends.transports.watchdog import Watchdog
from switchboard.fleet.peers import Peers
from switchboard.protocol.changes import LIST_CHANGES
from switchboard.state import State


class BackendHost(Protocol):
    """What a backend needs of Switchboard: the part of a plugin's host that it uses."""

    @property
    def worker(self) -> str:
        """This worker's id."""
        ...

    def streams(self) -> Iterable[Stream]:
        """The streams that clients hold open on this worker."""
        ...

    async def publish(self, event: ServerEvent) -> None:
        """Tell every interested client that something changed."""
        ...


class BackendProvider:
    """Another MCP server.

    Args:
        watchdog: ends children if this worker is killed; running.
        state: where workers agree on who has which line; without it this worker is alone.
        peers: the other workers, which have lines that this one's calls need.
        info: how the gateway introduces itself.
        interest: what the clients of this worker subscribed to, shared by all backends.
        last: what it offered under another description; stays until it was asked.
        dice: gives numbers between 0 and 1.
        ask_session: asks the client of a session on its own stream: session, method and parameters.
    """

    def __init__(
        self,
        backend: Backend,
        watchdog: Watchdog,
        *,
        state: State | None = None,
        peers: Peers | None = None,
        info: Implementation | None = None,
        interest: Interest | None = None,
        last: BackendOffer | None = None,
        dice: Callable[[], float] = random.random,
        ask_session: Callable[[str, str, Params | None], Awaitable[dict[str, Any] | None]] | None = None,
    ) -> None:
        self.backend = backend
        self._watchdog = watchdog
        self._state = state
        self._peers = peers
        self._ask_session = ask_session
        self._updates = ResourceUpdates(backend.name, lambda uri: self._publish(ResourceUpdated(uri)))
        self._info = info or Implementation(name="switchboard", version="")
        self._lines = ConnectionPool(
            backend, self._line, Unlimited() if state is None else FleetConnectionQuota(state, backend)
        )
        self._own = GatewayConnection(backend, self._lines)
        self._discovery = OfferDiscovery(backend, self._own, self, self._told, dice, last)
        self._endpoints: Endpoints | None = None
        self._host: BackendHost | None = None
        self._interest = interest or Interest()
        self._calling = Forwarding(backend, self._use, self.known)

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.backend.name

    @property
    def health(self) -> Health:
        """How it is doing, as the worker that looks after it sees it."""
        return self._discovery.health

    @property
    def instructions(self) -> str | None:
        """What it said about using it, once it was reached."""
        return self.known().instructions

    @property
    def extensions(self) -> Mapping[str, dict[str, Any]]:
        """None: extensions are between a client and whoever it talks to."""
        return {}

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """None beyond the specification's."""
        return {}

    @property
    def lines(self) -> ConnectionPool:
        """Its open connections on this worker."""
        return self._lines

    def known(self) -> BackendOffer:
        """What it offers as last known, at once."""
        return self._discovery.offer

    async def offer(self) -> BackendOffer:
        """What it offers as last known; asking it is a background task's work."""
        return await self._discovery.current()

    async def handle(self, method: str, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Pass one request on.

        Raises:
            MCPError: the backend's own, or the reason why it did not serve; with its name either way.
        """
        if not self._calling.serves(method):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        body = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        try:
            return await self._calling.call(method, body, RequestClient(ctx))
        except MCPError as error:
            if error.code == BACKEND_UNAVAILABLE:
                self._discovery.doubt()
            raise

    @asynccontextmanager
    async def running(self, host: BackendHost) -> AsyncIterator[None]:
        """Its life in one worker: returns at once, discovers in the background, leaves no child behind."""
        async with AsyncExitStack() as stack:
            self._host = host
            if addresses := urls(self.backend.transport):
                endpoints = Endpoints(addresses, self.backend.bounds.message_bytes)
                self._endpoints = await stack.enter_async_context(endpoints.running())
            await stack.enter_async_context(self._lines.running())
            self._own.sharing = Routing(self.backend, self._lines, self._state, self._peers)
            if one_for_all(self.backend):  # until its child is gone, no other worker could ask what there is
                stack.push_async_callback(lambda: self._discovery.lead.resign())
            await stack.enter_async_context(self._own.sharing.running())
            await stack.enter_async_context(self._discovery.running(self._state, host.worker))
            if self._state is not None:
                ending = SessionReaper(self._state, self.backend, self._lines, self._endpoints, self._discovery.lead)
                await stack.enter_async_context(ending.running())
            start = await stack.enter_async_context(
                background(self._look_who_wants(host), self._updates.keep_telling())
            )
            if self._state is not None:
                start(pass_on_roots_changes(self._state, self._lines))
            yield

    async def _look_who_wants(self, host: BackendHost) -> None:
        while True:
            uris = self._interest.uris(host)
            self._discovery.wanted.become(frozenset(own for uri in uris if (own := self.known().own(uri)) is not None))
            await asyncio.sleep(LOOK_S)

    async def _publish(self, event: ServerEvent) -> None:
        if self._host is not None:
            await self._host.publish(event)

    # -- its lines ------------------------------------------------------------------------------------------------

    async def _use(self, key: ConnectionKey, capabilities: Params, work: Use) -> Any:
        if self._own.sharing is None:
            raise Unreachable("this worker is not running")
        return await self._own.sharing.use(key, capabilities, work)

    def _line(self, key: ConnectionKey, capabilities: Params) -> Connection:
        return Connection(
            self.backend,
            self._open(key),
            self,
            declared=capabilities,
            owned=key.kind != "shared",
            info=self._info,
            session=partial(self._ask_session, key.sid) if self._ask_session is not None and key.sid else None,
            beside=None if key == DISCOVERY else self._news,
        )

    async def _news(self, line: Connection) -> None:
        """Hear of changes in a child by itself, as long as its line is open.

        A child of the handshake era tells unasked; in the modern era it tells who listens, and each child has a world
        of its own. Over HTTP the line for discovery hears for all.
        """
        async with anyio.create_task_group() as tasks:
            if line.wire.modern and isinstance(self.backend.transport, Stdio):
                tasks.start_soon(follow, line, self, self._discovery.wanted)
            await line.ended()
            tasks.cancel_scope.cancel()

    def _open(self, key: ConnectionKey) -> Callable[[AsyncExitStack], Any]:
        what = for_line(self.backend.transport, key)
        if isinstance(what, Stdio):
            return partial(opening.open_child, self.backend, what, self._watchdog, lambda: self._lines.failing)
        if self._endpoints is None or self._host is None:
            raise RuntimeError("the provider is not running")
        if isinstance(what, Sse):
            return partial(opening.open_sse, self.backend, what, self._endpoints)
        slot = None
        # Where every request stands alone, or nobody's calls go over it, there is no session to share.
        alone = key.once or key == DISCOVERY or (key.kind == "shared" and self.backend.scope is None)
        if self._state is not None and not alone:
            slot = Slot(self._state, self.backend, key, self._host.worker)
        return partial(opening.open_http, self.backend, what, self._endpoints, slot)

    # -- what lines hear. Satisfies `hearing.Ears`. ------------------------------------------------------------------

    def changed(self, kind: str) -> None:
        """A list changed: look again."""
        self._discovery.hear()

    async def updated(self, uri: str) -> None:
        """A resource changed: tell whoever subscribed."""
        await self._updates.say(uri)

    async def _told(self, changes: list[str]) -> None:
        for kind in changes:
            await self._publish(LIST_CHANGES[kind].event)


def providers(
    backends: Iterable[Backend], watchdog: Watchdog, info: Implementation, state: State | None = None
) -> tuple[BackendProvider, ...]:
    """A provider for each backend."""
    interest = Interest()
    return tuple(BackendProvider(backend, watchdog, state=state, info=info, interest=interest) for backend in backends)
