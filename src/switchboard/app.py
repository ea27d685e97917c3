"""The composition root: the only place that knows every room, and that reads settings for them.

`build` gives an ASGI application. Its lifespan opens shared state, starts the rooms from the lowest up, and closes them
in the reverse order; requests are served in between.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.subscriptions import ServerEvent
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard import __version__, config, log, plugins
from switchboard.authorization import Authorization, authorize
from switchboard.edge.faults import Faults
from switchboard.edge.guards import default_hosts, default_origins
from switchboard.edge.handshake import HandshakeEdge
from switchboard.edge.health import Readiness, health_routes
from switchboard.edge.limits import Permits, Quota, RateLimit, by_principal
from switchboard.edge.mcp import McpEndpoint
from switchboard.edge.stack import Policy, wrap
from switchboard.errors import ConfigurationError, StateUnavailable
from switchboard.gateway import LiveCatalog, build_gateway, initialization_options
from switchboard.keys import derive
from switchboard.plugins import OpenStream
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.parking import Parking
from switchboard.sessions.records import Records
from switchboard.sessions.room import HandshakeRoom
from switchboard.sessions.streams import Streams
from switchboard.settings import Settings
from switchboard.state import Heartbeat, State, check_fingerprint, mint_worker_id, open_state

events = structlog.get_logger(__name__)

MCP_PATH: Final = "/mcp"


class Application:
    """The ASGI application of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._served: ASGIApp | None = None
        self._lifespan = Starlette(lifespan=self._run)
        self._draining = False
        self._streams: Streams | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._lifespan if scope["type"] == "lifespan" or self._served is None else self._served
        await app(scope, receive, send)

    def drain(self) -> None:
        """Stop being ready and end open streams, so that their clients move to another worker."""
        self._draining = True
        if self._streams is not None:
            self._streams.end_all()

    @asynccontextmanager
    async def _run(self, _app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self._served = await self._assemble(stack)
            yield
            self._served = None

    async def _assemble(self, stack: AsyncExitStack) -> ASGIApp:
        settings = self._settings
        worker = mint_worker_id()
        log.name_worker(worker)
        state = await stack.enter_async_context(open_state(settings.state_url, prefix=settings.redis_prefix))
        heartbeat = Heartbeat(state, worker, __version__)
        try:
            await check_fingerprint(state, settings.key_ring)
            await stack.enter_async_context(heartbeat.running())
        except StateUnavailable as error:
            raise ConfigurationError(f"REDIS_URL: no Redis answers there ({error}); start it, or unset it") from error
        authorization = await authorize(settings, state, stack)
        endpoint = await self._endpoint(stack, state, worker, heartbeat)
        routes = [
            Route(MCP_PATH, self._protected(endpoint, authorization, state)),
            *health_routes(partial(self._readiness, state, worker)),
            *authorization.routes,
        ]
        events.info("worker.started", worker=worker, state=state.kind, auth=settings.auth_mode)
        return wrap(Starlette(routes=routes), _policy(settings))

    async def _endpoint(self, stack: AsyncExitStack, state: State, worker: str, heartbeat: Heartbeat) -> McpEndpoint:
        settings = self._settings
        bus = RedisBus(state)
        records = Records(state, settings.session_ttl)
        streams = self._streams = Streams(state, bus, settings.session_ttl)
        parking = Parking(state, worker, heartbeat.alive)
        providers = plugins.load(config.read(settings.config_file, os.environ).plugins)
        catalog = LiveCatalog(providers, bus=bus)
        server = build_gateway(
            catalog,
            bus=bus,
            version=__version__,
            keys=[derive(key, "request state") for key in settings.key_ring],
            audience=settings.mcp_url,
            set_level=records.set_level,
            subscribe=records.subscribe,
            unsubscribe=records.unsubscribe,
            middleware=[parking],
        )
        room = HandshakeRoom(server, initialization_options(server), state, records, streams, worker)
        modern = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=max(settings.max_body_bytes, 1)
        )
        await stack.enter_async_context(bus.running())
        await stack.enter_async_context(catalog.running(WorkerHost(worker, state.kind, streams, bus)))
        await stack.enter_async_context(parking.running())
        await stack.enter_async_context(modern.run())
        await stack.enter_async_context(room.running({}))
        await stack.enter_async_context(streams.running())
        return McpEndpoint(
            HandshakeEdge(room),
            modern.handle_request,
            bus,
            listening=streams.listening,
            server_info=server.server_info_stamp,
        )

    def _protected(self, endpoint: ASGIApp, authorization: Authorization, state: State) -> ASGIApp:
        quota = Quota("mcp", self._settings.rate_limit)
        limited = RateLimit(Faults(endpoint), Permits(state.redis, prefix=state.prefix), quota, by_principal)
        return authorization.protect(limited)

    async def _readiness(self, state: State, worker: str) -> Readiness:
        if self._draining:
            return Readiness("draining", state.kind, worker, __version__)
        try:
            with state.guard():
                await state.redis.ping()
        except StateUnavailable as error:
            return Readiness("degraded", state.kind, worker, __version__, {"redis": str(error)})
        return Readiness("ready", state.kind, worker, __version__)


@dataclass(frozen=True)
class WorkerHost:
    """What this worker offers its plugins. Satisfies `switchboard.plugins.Host`."""

    worker: str
    state: str
    open: Streams
    bus: RedisBus

    def streams(self) -> Iterable[OpenStream]:
        """The streams open on this worker now."""
        return self.open

    async def publish(self, event: ServerEvent) -> None:
        """Tell the clients of every worker."""
        await self.bus.publish(event)


def build(settings: Settings) -> Application:
    """The application of one worker; nothing is opened before its lifespan starts."""
    return Application(settings)


def _policy(settings: Settings) -> Policy:
    return Policy(
        hosts=settings.allowed_hosts or default_hosts(settings.base_uri, settings.host),
        origins=settings.allowed_origins or default_origins(settings.base_uri, settings.host),
        proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
        https=settings.base_uri.startswith("https:"),
    )
