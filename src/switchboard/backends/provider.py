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
from switchboard.backends.caller import ClientChannel, Params, RequestClient
from switchboard.backends.config import Backend, Sse, Stdio, urls
from switchboard.backends.connecting import AuthorizedForwarding
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import (
    ALL_CAPABILITIES,
    ConnectionKey,
    credentials_for,
    digest,
    single_connection,
)
from switchboard.backends.connections.connection_quota import FleetConnectionQuota, Unlimited
from switchboard.backends.connections.inbound import InboundListener
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.connections.roots_changes import pass_on_roots_changes
from switchboard.backends.direct import DirectCalls
from switchboard.backends.errors import BACKEND_UNAVAILABLE, Unreachable
from switchboard.backends.forwarding import Forwarding
from switchboard.backends.gateway_connection import DISCOVERY, GatewayConnection
from switchboard.backends.health import Health
from switchboard.backends.offer.discovery import OfferDiscovery
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.offer.personal_offers import CONNECT, PersonalOffers, PersonListener
from switchboard.backends.offer.resource_subscriptions import SUBSCRIPTIONS_READ_S, ClientSubscriptions, Stream, follow
from switchboard.backends.offer.resource_updates import ResourceUpdates
from switchboard.backends.routing import Routing, Work
from switchboard.backends.session_reaper import SessionReaper
from switchboard.backends.transports import opening
from switchboard.backends.transports.endpoints import Endpoints
from switchboard.backends.transports.opening import for_connection
from switchboard.backends.transports.session_store import SessionStore
from switchboard.backends.transports.watchdog import Watchdog
from switchboard.fleet.peers import Peers
from switchboard.identity import Caller, current
from switchboard.outbound_auth.asking import People
from switchboard.outbound_auth.connected import person_digest
from switchboard.protocol.changes import LIST_CHANGES
from switchboard.protocol.direct_requests import DirectTool
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
        state: where workers agree on who has which connection; without it this worker is alone.
        peers: the other workers, which have connections that this one's calls need.
        info: how the gateway introduces itself.
        client_subscriptions: what the clients of this worker subscribed to, shared by all backends.
        last: what it offered under another description; stays until it was asked.
        jitter: gives numbers between 0 and 1.
        ask_session: asks the client of a session on its own stream: session, method and parameters.
        people: how people are asked to connect accounts, for a backend that needs such.
    """

    def __init__(
        self,
        backend: Backend,
        watchdog: Watchdog,
        *,
        state: State | None = None,
        peers: Peers | None = None,
        info: Implementation | None = None,
        client_subscriptions: ClientSubscriptions | None = None,
        last: BackendOffer | None = None,
        jitter: Callable[[], float] = random.random,
        ask_session: Callable[[str, str, Params | None], Awaitable[dict[str, Any] | None]] | None = None,
        people: People | None = None,
    ) -> None:
        self.backend = backend
        self._watchdog = watchdog
        self._state = state
        self._peers = peers
        self._ask_session = ask_session
        self._updates = ResourceUpdates(backend.name, lambda uri: self._publish(ResourceUpdated(uri)))
        self._info = info or Implementation(name="switchboard", version="")
        self._pool = ConnectionPool(
            backend, self._make_connection, Unlimited() if state is None else FleetConnectionQuota(state, backend)
        )
        self._gateway_connection = GatewayConnection(backend, self._pool)
        self._discovery = OfferDiscovery(backend, self._gateway_connection, self, self._publish_changes, jitter, last)
        self._endpoints: Endpoints | None = None
        self._host: BackendHost | None = None
        self._client_subscriptions = client_subscriptions or ClientSubscriptions()
        self._forwarding = Forwarding(backend, self._use, self._current_offer)
        self.personal: PersonalOffers | None = None
        if backend.personal_offer and people is not None:
            self.personal = PersonalOffers(backend, self._connection_of, people.tell, people.announce)
        self._authorized = AuthorizedForwarding(backend.name, backend.credentials, self._forward, people)
        self._serve = self._serve_person if backend.credentials.per_person else self._forward
        self._direct = DirectCalls(self._serve)

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
        return self.last_offer().instructions

    @property
    def extensions(self) -> Mapping[str, dict[str, Any]]:
        """None: extensions are between a client and whoever it talks to."""
        return {}

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """None beyond the specification's."""
        return {}

    @property
    def pool(self) -> ConnectionPool:
        """Its open connections on this worker."""
        return self._pool

    def last_offer(self) -> BackendOffer:
        """What it offers as last known, at once."""
        return self._discovery.offer

    def _current_offer(self) -> BackendOffer:
        """What it offers to whoever makes the call that is served."""
        found = None if self.personal is None else self.personal.offer_of(current().principal.person)
        return found or self._discovery.offer

    def account_changed(self, digest: str) -> None:
        """A person, given as a digest, connected an account there or ended it; any may have, if it is empty."""
        if self.personal is not None:
            self.personal.forget(digest)
        for connection in self._pool.open:  # a child has the credential that it was started with
            user = connection.key.user if connection.key is not None else ""
            if isinstance(self.backend.transport, Stdio) and user and digest in ("", person_digest(user)):
                connection.stop()

    async def offer(self) -> BackendOffer:
        """What it offers as last known; asking it is a background task's work."""
        return await self._discovery.current()

    def direct(self, _name: str) -> DirectTool | None:
        """Each of its tools."""
        return self._direct

    async def handle(self, method: str, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Pass one request on.

        Raises:
            MCPError: the backend's own, or the reason why it did not serve; with its name either way.
        """
        if not self._forwarding.serves(method):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        body = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        return await self._serve(method, body, RequestClient(ctx))

    async def _serve_person(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        """Pass one request on with a credential of its person; or serve the tool that connects."""
        person = current().principal.person
        connects = method == "tools/call" and body.get("name") == CONNECT
        if self.personal is None or not connects or not self.personal.is_unconnected(person):
            return await self._authorized.call(method, body, client_channel)
        result = await self._authorized.connect(body, client_channel)
        await self.personal.learn(current())
        return result

    async def _forward(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        try:
            return await self._forwarding.call(method, body, client_channel)
        except MCPError as error:
            if error.code == BACKEND_UNAVAILABLE:
                self._discovery.refresh_after_failure()
            raise

    @asynccontextmanager
    async def running(self, host: BackendHost) -> AsyncIterator[None]:
        """Its life in one worker: returns at once, discovers in the background, ends every child on the way out."""
        async with AsyncExitStack() as stack:
            self._host = host
            if addresses := urls(self.backend.transport):
                endpoints = Endpoints(addresses, self.backend.bounds.message_bytes)
                self._endpoints = await stack.enter_async_context(endpoints.running())
            await stack.enter_async_context(self._pool.running())
            self._gateway_connection.routing = Routing(self.backend, self._pool, self._state, self._peers)
            if single_connection(self.backend):  # until its child is gone, no other worker could ask what there is
                stack.push_async_callback(lambda: self._discovery.leader.resign())
            await stack.enter_async_context(self._gateway_connection.routing.running())
            await stack.enter_async_context(self._discovery.running(self._state, host.worker))
            if self._state is not None:
                reaper = SessionReaper(self._state, self.backend, self._pool, self._endpoints, self._discovery.leader)
                await stack.enter_async_context(reaper.running())
            start = await stack.enter_async_context(
                background(self._keep_subscriptions_read(host), self._updates.keep_publishing())
            )
            if self.personal is not None:
                self.personal.start = start
            if self._state is not None:
                start(pass_on_roots_changes(self._state, self._pool))
            yield

    async def _keep_subscriptions_read(self, host: BackendHost) -> None:
        while True:
            uris = self._client_subscriptions.uris(host)
            self._discovery.wanted.become(
                frozenset(own for uri in uris if (own := self.last_offer().own(uri)) is not None)
            )
            await asyncio.sleep(SUBSCRIPTIONS_READ_S)

    async def _publish(self, event: ServerEvent) -> None:
        if self._host is not None:
            await self._host.publish(event)

    # -- its connections ----------------------------------------------------------------------------------------------

    async def _use(self, key: ConnectionKey, capabilities: Params, work: Work) -> Any:
        if self._gateway_connection.routing is None:
            raise Unreachable("this worker is not running")
        return await self._gateway_connection.routing.use(key, capabilities, work)

    @asynccontextmanager
    async def _connection_of(self, caller: Caller) -> AsyncIterator[Connection]:
        """A connection on which it is asked what a person is offered; no calls go over it."""
        person = caller.principal.person
        key = ConnectionKey("user", person, digest(ALL_CAPABILITIES), person, once=True)
        async with self._pool.connection(key, ALL_CAPABILITIES) as connection:
            yield connection

    def _make_connection(self, key: ConnectionKey, capabilities: Params) -> Connection:
        listener: InboundListener = self
        if self.personal is not None:
            listener = PersonListener(self.personal, key.user, heard=not key.once)
        return Connection(
            self.backend,
            self._open(key),
            listener,
            declared=capabilities,
            owned=key.kind != "shared",
            info=self._info,
            session=partial(self._ask_session, key.sid) if self._ask_session is not None and key.sid else None,
            while_open=None if key == DISCOVERY else self._follow_child,
        )

    async def _follow_child(self, connection: Connection) -> None:
        """Follow the changes in a child, as long as its connection is open.

        A child of the handshake era tells of them unasked; in the modern era it tells those who listen, and each child
        may change by itself. Over HTTP the connection for discovery follows them for all; where there is none, each
        person's follows what they are offered.
        """
        async with anyio.create_task_group() as tasks:
            key = connection.key
            if connection.rpc.modern and self.personal is not None and key is not None and not key.once:
                listener = PersonListener(self.personal, key.user)
                tasks.start_soon(follow, connection, listener, self._discovery.wanted)
            elif connection.rpc.modern and isinstance(self.backend.transport, Stdio):
                tasks.start_soon(follow, connection, self, self._discovery.wanted)
            await connection.ended()
            tasks.cancel_scope.cancel()

    def _is_failing(self) -> bool:
        return self._pool.failing

    def _open(self, key: ConnectionKey) -> Callable[[AsyncExitStack], Any]:
        what = for_connection(self.backend.transport, key)
        credentials = credentials_for(self.backend, key)
        if isinstance(what, Stdio):
            return partial(opening.open_child, self.backend, what, self._watchdog, self._is_failing, credentials)
        if self._endpoints is None or self._host is None:
            raise RuntimeError("the provider is not running")
        if isinstance(what, Sse):
            return partial(opening.open_sse, self.backend, what, self._endpoints, credentials)
        store = None
        # Where every request stands alone, or nobody's calls go over it, there is no session to share.
        alone = key.once or key == DISCOVERY or (key.kind == "shared" and self.backend.scope is None)
        if self._state is not None and not alone:
            store = SessionStore(self._state, self.backend, key, self._host.worker)
        return partial(opening.open_http, self.backend, what, self._endpoints, store, credentials)

    # -- notices of the backend. Satisfies `InboundListener`. ---------------------------------------------------------

    def changed(self, kind: str) -> None:
        """A list changed: look again."""
        self._discovery.refresh()

    async def updated(self, uri: str) -> None:
        """A resource changed: tell whoever subscribed."""
        await self._updates.report(uri)

    async def _publish_changes(self, changes: list[str]) -> None:
        for kind in changes:
            await self._publish(LIST_CHANGES[kind].event)
