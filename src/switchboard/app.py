"""The composition root: the only place that knows every room, and that reads settings for them.

`build` gives an ASGI application. Its lifespan opens shared state, starts the rooms from the lowest up, and closes them
in the reverse order; requests are served in between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.subscriptions import ServerEvent
from mcp_types import Implementation
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard import __version__, log, plugins
from switchboard.authorization import authorize
from switchboard.backends import Backend, BackendProvider, Watchdog
from switchboard.backends.connections.roots_changes import tell_roots_changed
from switchboard.backends.offer.resource_subscriptions import Interest
from switchboard.catalog import shapes
from switchboard.common.quota import Quota
from switchboard.config.layers import OVERRIDES, variables
from switchboard.config.overlay import Overlay
from switchboard.config.watching import WatchedConfiguration
from switchboard.errors import StateUnavailable
from switchboard.fleet import Heartbeat, mint_worker_id
from switchboard.fleet.peers import Peers
from switchboard.gateway import (
    LiveCatalog,
    Provider,
    SelectedCatalog,
    build_gateway,
    initialization_options,
    readable,
    task_support,
)
from switchboard.http.fd_limits import raise_limit, shortage
from switchboard.http.handshake import HandshakeEndpoint
from switchboard.http.http_sse import MESSAGE_PATH, SSE_PATH, HttpSseEndpoint
from switchboard.http.mcp import McpEndpoint
from switchboard.http.middleware.access import ToolOf
from switchboard.http.middleware.errors import ErrorBoundary
from switchboard.http.middleware.guards import default_hosts, default_origins, probes
from switchboard.http.middleware.load_shedding import Load, Shedding
from switchboard.http.middleware.presets import Selecting
from switchboard.http.middleware.rate_limit import Permits, RateLimit, by_address, by_principal
from switchboard.http.probes import Readiness, Starting, health_routes
from switchboard.http.responses import Elsewhere
from switchboard.http.stack import Policy, wrap
from switchboard.http.websocket import WebSocketEdge
from switchboard.keys import derive
from switchboard.plugins import OpenStream
from switchboard.servers import Upstreams
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.links import GivenLinks
from switchboard.sessions.one_stream import LegacyRoom
from switchboard.sessions.parking import Parking
from switchboard.sessions.records import Records
from switchboard.sessions.service import SessionService
from switchboard.sessions.standalone_requests import ask
from switchboard.sessions.streams import Streams
from switchboard.sessions.unavailable import marking
from switchboard.settings import Settings
from switchboard.sources import CacheWatch, SourceContext
from switchboard.state import State, StateChecks, awaiting_redis, join, open_state
from switchboard.tasks import Tasks
from switchboard.timing import Timing
from switchboard.worker_control import answering
from switchboard.worker_socket import answering_here

events = structlog.get_logger(__name__)

MCP_PATH: Final = "/mcp"
PROBE_PATIENCE_S: Final = 1.0

ADDRESS_SHARE: Final = 10
"""How many principals' quotas one address has: many people may sit behind it, guessed tokens still run dry."""


@dataclass(frozen=True)
class Rooms:
    """The open rooms of one worker."""

    worker: str
    state: State
    soundness: StateChecks
    bus: RedisBus
    streams: Streams
    handshake: SessionService
    endpoint: ASGIApp
    websocket: ASGIApp
    sse: ASGIApp
    message: ASGIApp
    tasks: Tasks
    watched: WatchedConfiguration
    upstreams: Upstreams
    tool_of: ToolOf
    cache: CacheWatch


class Application:
    """The ASGI application of one worker."""

    def __init__(self, settings: Settings, backends: Sequence[Backend], timing: Timing) -> None:
        self._settings = settings
        self._timing = timing
        self._backends = backends
        self._served: ASGIApp | None = None
        self._lifespan = Starlette(lifespan=self._run)
        self._rooms: Rooms | None = None
        self._draining = False
        self._shortage: tuple[str, ...] = ()
        self._starting = Starting(__version__)
        self._begun = False
        """Whether requests were ever served."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._lifespan if scope["type"] == "lifespan" else self._served or self._starting
        await app(scope, receive, _closing(send) if self._draining else send)

    @property
    def serving(self) -> bool:
        """Whether requests are served; a worker that waits for Redis at its start is up, and serves none."""
        return self._served is not None

    @property
    def rooms(self) -> Rooms:
        """The rooms, between the lifespan's start and end."""
        if self._rooms is None:
            raise RuntimeError("the application is not running")
        return self._rooms

    def drain(self) -> None:
        """Stop being ready and end open streams, so that their clients move to another worker.

        May be called again, for streams that were opened meanwhile.
        """
        self._draining = True
        if self._rooms is not None:
            self._rooms.streams.end_all()
            self._rooms.state.contact.leave(self._settings.drain_timeout)
            self._rooms.handshake.drain(self._settings.drain_timeout)
            # What memory:// knows of a task ends with the process: nobody would ever learn how it went.
            self._rooms.tasks.drain(self._settings.drain_timeout if self._settings.redis_url else 0)

    @asynccontextmanager
    async def _run(self, _app: Starlette) -> AsyncIterator[None]:
        """The lifespan: entered once requests are served, or once it is known that Redis has to be waited for."""
        entered, leaving = asyncio.Event(), asyncio.Event()

        def waits(reason: str) -> None:
            self._starting.reason = reason
            entered.set()

        async def live() -> None:
            await self._live(entered.set, leaving)

        async with asyncio.TaskGroup() as tasks:
            life = tasks.create_task(awaiting_redis(live, begun=lambda: self._begun or leaving.is_set(), waits=waits))
            life.add_done_callback(lambda _life: entered.set())
            try:
                await entered.wait()
                yield
            finally:
                leaving.set()
                if not self.serving:
                    life.cancel()
        events.info("worker.stopped")

    async def _live(self, serves: Callable[[], None], leaving: asyncio.Event) -> None:
        """Open the rooms, serve, and close them; `StateUnavailable` while Redis is away."""
        async with AsyncExitStack() as stack:
            state = await _joined(self._settings, self._timing, stack)
            self._rooms = await _open(self._settings, self._backends, state, stack)
            served = await self._serve(self._rooms, stack)
            self._shortage = shortage(raise_limit())
            for warning in self._shortage:
                events.warning("too few descriptors", risk=warning)
            events.info("worker.started", state=state.kind, auth=self._settings.auth_mode)
            self._served, self._begun = served, True
            serves()
            try:
                await leaving.wait()
            finally:
                self._served = None

    async def _serve(self, rooms: Rooms, stack: AsyncExitStack) -> ASGIApp:
        settings, state = self._settings, rooms.state
        authorization = await authorize(settings, state, stack)
        quota = Quota("mcp", settings.rate_limit)
        permits = Permits(state.redis, prefix=state.prefix)

        def guarded(path: str, endpoint: ASGIApp) -> ASGIApp:
            return authorization.protect(RateLimit(ErrorBoundary(endpoint), permits, quota, by_principal), path)

        base = settings.base_path
        routes = [
            Route(base + MCP_PATH, guarded(MCP_PATH, rooms.endpoint)),
            WebSocketRoute(base + MCP_PATH, guarded(MCP_PATH, rooms.websocket)),
            Route(base + SSE_PATH, guarded(SSE_PATH, rooms.sse)),
            Route(base + MESSAGE_PATH, guarded(SSE_PATH, rooms.message)),
            *health_routes(self._readiness, base),
            *authorization.routes,
            *(Route(path, Elsewhere(settings.base_uri)) for path in (MCP_PATH, SSE_PATH, MESSAGE_PATH) if base),
        ]
        addresses = Quota("address", settings.rate_limit * ADDRESS_SHARE)
        load = Load(settings.max_loop_lag, settings.max_memory_mb << 20)
        await stack.enter_async_context(load.running())
        return wrap(
            Starlette(routes=routes),
            _policy(settings, authorization.public, rooms.tool_of),
            lambda app: Shedding(app, load, probes(base)),
            lambda app: RateLimit(app, permits, addresses, by_address),
        )

    async def _readiness(self) -> Readiness:
        rooms = self.rooms
        said = partial(Readiness, state=rooms.state.kind, worker=rooms.worker, version=__version__)
        if self._draining:
            return said("draining")
        try:
            with rooms.state.guard():
                async with asyncio.timeout(PROBE_PATIENCE_S):
                    await rooms.state.redis.ping()
        except (StateUnavailable, TimeoutError) as error:
            return said("degraded", details={"redis": str(error) or "no answer"})
        if not rooms.state.hub.connected:
            return said("degraded", details={"redis": "the connection for pub/sub does not answer; it is made anew"})
        state = rooms.state
        await rooms.cache.look()
        watched = (*state.replicas.warnings(), *state.clock.warnings(), *rooms.cache.warnings())
        warnings = (*await rooms.soundness.warnings(), *watched, *self._shortage)
        return said("ready", warnings=warnings)


async def _joined(settings: Settings, timing: Timing, stack: AsyncExitStack) -> State:
    """Open shared state, and join the fleet that uses it.

    Raises:
        ConfigurationError: Redis refuses us, or its fleet has other keys.
        StateUnavailable: Redis is away.
    """
    state = await stack.enter_async_context(
        open_state(
            settings.state_url,
            prefix=settings.redis_prefix,
            connections=settings.redis_max_connections,
            wait_replicas=settings.redis_wait_replicas,
            wait_ms=settings.redis_wait_ms,
            stream_bytes=settings.max_stream_bytes,
            timing=timing,
        )
    )
    await join(state, settings.key_ring)
    return state


async def _open(settings: Settings, backends: Sequence[Backend], state: State, stack: AsyncExitStack) -> Rooms:
    """Open the rooms, the lower ones first; `stack` closes them in reverse."""
    worker = mint_worker_id()
    log.name_worker(worker)
    heartbeat = Heartbeat(state, worker, __version__, settings.key_ring)
    peers = Peers(state, worker)
    bus = RedisBus(state)
    records = Records(state, settings.session_ttl, settings.max_sessions)
    streams = Streams(state, bus, worker, settings.session_ttl, settings.max_streams)
    parking = Parking(
        peers,
        max_per_principal=settings.max_parked,
        server_info=lambda: server.server_info_stamp,
    )
    watched = WatchedConfiguration(settings.config_file, partial(_variables, settings), Overlay(state))
    configuration = await watched.load()
    watchdog = await stack.enter_async_context(Watchdog().running())
    info = Implementation(name="switchboard", version=__version__)
    provider = partial(
        BackendProvider,
        watchdog=watchdog,
        state=state,
        peers=peers,
        info=info,
        interest=Interest(),
        ask_session=partial(ask, state, worker),
    )
    reached = tuple(map(provider, backends))
    offering: tuple[Provider, ...] = (*plugins.load(configuration.plugins), *reached)
    shown = shapes(configuration.plugins)
    catalog = LiveCatalog(offering, bus=bus, separator=configuration.separator, shapes=shown, links=GivenLinks(state))
    selected = SelectedCatalog(catalog, configuration.presets, configuration.tool_search)
    tasks = Tasks(
        state,
        worker,
        heartbeat.alive,
        task_support(selected),
        ttl=settings.task_ttl,
        max_per_principal=settings.max_tasks,
    )
    server = build_gateway(
        selected,
        bus=bus,
        version=__version__,
        keys=[derive(key, "request state") for key in settings.key_ring],
        audience=settings.mcp_url,
        set_level=records.set_level,
        subscribe=records.subscribe,
        unsubscribe=records.unsubscribe,
        roots_changed=partial(tell_roots_changed, state),
        middleware=[parking, tasks],
        around=[marking],
        clock=state.clock,
    )
    tasks.install(server)
    catalog.on_change(server.refit)
    ground = SourceContext(settings.cache_dir, os.environ, (settings.config_file or Path()).parent)
    upstreams = Upstreams(catalog, selected, ground, partial(_connected, provider), configuration, fixed=reached)
    cache = CacheWatch(settings.cache_dir, lambda: upstreams.installs)
    handshake = SessionService(
        server, initialization_options(server), state, records, streams, worker, settings.max_requests
    )
    modern = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=settings.max_body_bytes)

    def tell() -> Mapping[str, Any]:
        return {"worker": worker, "problem": watched.problem, "cache": cache.problem, **upstreams.tell()}

    for room in (
        heartbeat.running(),
        peers.running(),
        bus.running(),
        catalog.running(WorkerHost(worker, state.kind, streams, bus)),
        upstreams.running(watched),
        answering(peers, tell, upstreams.restart),
        nullcontext() if settings.redis_url else answering_here(settings.port, tell, upstreams.restart),
        cache.running(),
        parking.running(),
        tasks.running(),
        modern.run(),
        handshake.running({}),
        streams.running(),
    ):
        await stack.enter_async_context(room)
    endpoint = McpEndpoint(
        HandshakeEndpoint(handshake),
        modern.handle_request,
        bus,
        listening=streams.listening,
        watching=tasks.watch,
        readable=partial(readable, selected),
        ending=streams.revocation.ending,
        server_info=server.server_info_stamp,
        entry_scopes=selected.entry_scopes,
        clock=state.clock,
    )
    one_stream = LegacyRoom(handshake, heartbeat.alive)
    legacy = HttpSseEndpoint(one_stream, settings.base_path, selected.entry_scopes)
    socket = WebSocketEdge(one_stream, settings.max_body_bytes, selected.entry_scopes)
    transports = (endpoint, socket, legacy.stream, legacy.message)
    selecting, websocket, sse, message = (Selecting(each, selected.serving) for each in transports)
    soundness = StateChecks(state)
    await soundness.warnings()
    return Rooms(
        worker,
        state,
        soundness,
        bus,
        streams,
        handshake,
        selecting,
        websocket,
        sse,
        message,
        tasks,
        watched,
        upstreams,
        selected.tool_of,
        cache,
    )


def _connected(provider: Callable[..., BackendProvider], backend: Backend, before: Provider | None) -> Provider:
    """A provider that offers what its predecessor did until it was asked itself: nothing is missing in between."""
    return provider(backend, last=before.known() if isinstance(before, BackendProvider) else None)


def _variables(settings: Settings) -> Mapping[str, str]:
    """What the configuration may refer to, and the layer of the environment."""
    return {**variables(os.environ), OVERRIDES: settings.config_overrides}


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


def build(settings: Settings, backends: Sequence[Backend] = (), timing: Timing | None = None) -> Application:
    """The application of one worker; nothing is opened before its lifespan starts.

    Args:
        backends: besides those of the configuration file.
        timing: how long workers wait for one another; the same for all that share a Redis.
    """
    return Application(settings, backends, timing or Timing())


def _closing(send: Send) -> Send:
    """Ask whoever keeps the connection open to open the next one, which will reach another worker."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing


def _policy(settings: Settings, public: tuple[str, ...], tool_of: ToolOf) -> Policy:
    return Policy(
        hosts=settings.allowed_hosts or default_hosts(settings.base_uri, settings.host),
        origins=settings.allowed_origins or default_origins(settings.base_uri, settings.host),
        proxies=settings.trusted_proxies,
        max_body_bytes=settings.max_body_bytes,
        public=public,
        probes=probes(settings.base_path),
        tool_of=tool_of,
        https=settings.base_uri.startswith("https:"),
    )
