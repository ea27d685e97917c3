"""The rooms of one worker, put together: part of the composition root, called by `app.py` once shared state is open.

Made from the lowest up: what the fleet shares, what is offered, the gateway and its tasks, sessions, and the endpoints
of each transport. An `AsyncExitStack` runs them, and ends them in the reverse order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.subscriptions import ServerEvent
from mcp_types import Implementation
from starlette.types import ASGIApp

from switchboard import __version__, log
from switchboard.account.connect_links import ConnectLinks
from switchboard.aio import background
from switchboard.audit import AuditLog
from switchboard.backend_configs import CredentialsOfServers, connected
from switchboard.backends import Backend, BackendProvider, Watchdog
from switchboard.backends.caller import RequestClient
from switchboard.backends.connections.roots_changes import tell_roots_changed
from switchboard.backends.offer.resource_subscriptions import ClientSubscriptions
from switchboard.catalog import shapes
from switchboard.config.layers import OVERRIDES, variables
from switchboard.config.overlay import Overlay
from switchboard.config.watching import WatchedConfiguration
from switchboard.fleet import Heartbeat, mint_worker_id
from switchboard.fleet.peers import Peers
from switchboard.gateway import (
    FastPath,
    Gateway,
    LiveCatalog,
    NoFastPath,
    SelectedCatalog,
    build_gateway,
    initialization_options,
    readable,
    task_support,
)
from switchboard.http.handshake import HandshakeEndpoint
from switchboard.http.http_sse import HttpSseEndpoint
from switchboard.http.mcp import McpEndpoint
from switchboard.http.middleware.access import ToolOf
from switchboard.http.stack import Selecting
from switchboard.http.websocket import WebSocketEndpoint
from switchboard.identity.principal import person_of
from switchboard.keys import derive
from switchboard.outbound_auth.asking import People
from switchboard.outbound_auth.connectables import Connectables
from switchboard.outbound_auth.connected import ConnectionNotices, person_digest
from switchboard.outbound_auth.outbound import Outbound
from switchboard.own_issuer import OwnIssuer, issuer_of
from switchboard.plugin_set import ConfiguredPlugins, IsolatedPlugin, PluginCredentials, PluginProcesses
from switchboard.plugins import PluginLoader, PluginSources
from switchboard.plugins.changes import follow_folder
from switchboard.servers import LISTS, Servers
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.links import GivenLinks
from switchboard.sessions.one_stream import OneStreamSessions
from switchboard.sessions.parking import Parking
from switchboard.sessions.patience import mark_unavailable
from switchboard.sessions.records import Records
from switchboard.sessions.service import SessionService
from switchboard.sessions.standalone_requests import ask
from switchboard.sessions.streams.open_streams import OpenStreams
from switchboard.settings import Settings
from switchboard.sources import CacheWatch, SourceContext
from switchboard.state import State, StateChecks
from switchboard.tasks import Tasks
from switchboard.telemetry.exporting import collecting
from switchboard.telemetry.recent import Recent
from switchboard.vault import Vault
from switchboard.vault_settings import call_rates, opened_audit_log, opened_call_log, opened_vault
from switchboard.worker_control import WorkerControl, WorkerHost, answering, telling_of_streams
from switchboard.worker_socket import answering_here


class _Worker:
    """This worker's part in the fleet: its name, its heartbeat, its peers, and the streams of its clients."""

    def __init__(self, settings: Settings, state: State) -> None:
        self.id = mint_worker_id()
        log.name_worker(self.id)
        self.state = state
        self.heartbeat = Heartbeat(state, self.id, __version__, settings.key_ring)
        self.peers = Peers(state, self.id)
        self.bus = RedisBus(state)
        self.records = Records(state, settings.session_ttl, settings.max_sessions)
        self.streams = OpenStreams(state, self.bus, self.id, settings.session_ttl, settings.max_streams)
        self.checks = StateChecks(state)
        self.recent = Recent()


@dataclass(frozen=True)
class Credentials:
    """What authorizes calls to backends and plugins: where credentials are kept, and whose they are."""

    audit: AuditLog
    vault: Vault
    outbound: Outbound
    """Asks OAuth providers."""
    connectables: Connectables
    """What people connect to; backends and plugins put themselves in."""
    notices: ConnectionNotices
    links: ConnectLinks
    own_issuer: OwnIssuer


@dataclass(frozen=True)
class _Offer:
    """What is offered: the configuration, the catalog of all providers, and what a request sees of it."""

    watched: WatchedConfiguration
    catalog: LiveCatalog
    selected: SelectedCatalog
    servers: Servers
    cache: CacheWatch


@dataclass(frozen=True)
class _Service:
    """Who serves requests: the gateway, the calls that go on after their request, and the sessions of both eras."""

    server: Gateway
    parking: Parking
    tasks: Tasks
    handshake: SessionService
    modern: StreamableHTTPSessionManager
    fast_path: FastPath | NoFastPath


@dataclass(frozen=True)
class Endpoints:
    """The ASGI applications of the transports; each shows what its URL selects."""

    mcp: ASGIApp
    websocket: ASGIApp
    sse: ASGIApp
    message: ASGIApp


@dataclass(frozen=True)
class Rooms:
    """The open rooms of one worker, as far as the application and its tests need them."""

    worker: str
    """Its id."""

    state: State
    peers: Peers
    checks: StateChecks
    bus: RedisBus
    streams: OpenStreams
    handshake: SessionService
    tasks: Tasks
    watched: WatchedConfiguration
    catalog: LiveCatalog
    servers: Servers
    cache: CacheWatch
    tool_of: ToolOf
    fast_path: FastPath | NoFastPath
    endpoints: Endpoints
    credentials: Credentials
    tell: Callable[[], Mapping[str, Any]]
    """How this worker is doing."""


async def open_rooms(
    settings: Settings, backends: Sequence[Backend], state: State, stack: AsyncExitStack, leave: Callable[[], None]
) -> Rooms:
    """Open the rooms, the lower ones first; `stack` closes them in reverse.

    Args:
        leave: has this worker drain and end.

    Raises:
        ConfigurationError: the configuration, or a plugin, cannot be used.
        StateUnavailable: Redis cannot be reached.
    """
    worker = _Worker(settings, state)
    await stack.enter_async_context(collecting(settings.exporting, worker.id))
    credentials = await _credentials(settings, worker, stack)
    offer = await _offer(settings, backends, worker, credentials, stack)
    service = _service(settings, worker, offer)
    for part in _running(settings, worker, offer, service, leave):
        await stack.enter_async_context(part)
    await worker.checks.warnings()
    return Rooms(
        worker.id,
        state,
        worker.peers,
        worker.checks,
        worker.bus,
        worker.streams,
        service.handshake,
        service.tasks,
        offer.watched,
        offer.catalog,
        offer.servers,
        offer.cache,
        offer.selected.tool_of,
        service.fast_path,
        _endpoints(settings, worker, offer, service),
        credentials,
        partial(_told, worker, offer, service),
    )


async def _credentials(settings: Settings, worker: _Worker, stack: AsyncExitStack) -> Credentials:
    state = worker.state
    audit = await stack.enter_async_context(opened_audit_log(settings, state, worker.id))
    vault = await stack.enter_async_context(opened_vault(settings, state, worker.id, audit))
    notices = ConnectionNotices(state)
    await stack.enter_async_context(notices.running())
    outbound = await stack.enter_async_context(Outbound(state, vault, worker.id).running())
    links = ConnectLinks(settings.key_ring, settings.base_uri, state.clock)
    own = OwnIssuer(settings, state.clock)
    return Credentials(audit, vault, outbound, Connectables(), notices, links, own)


async def _offer(
    settings: Settings, backends: Sequence[Backend], worker: _Worker, credentials: Credentials, stack: AsyncExitStack
) -> _Offer:
    sources = PluginSources(settings.plugins_dir)
    watched = WatchedConfiguration(
        settings.config_file, partial(_variables, settings), Overlay(worker.state), sources.in_folder
    )
    configuration = await watched.load()

    async def announce(person: str, server: str) -> None:
        await credentials.notices.tell(person, server + LISTS)

    people = People(credentials.links.link, credentials.notices.waiting, partial(_tell, worker.streams), announce)
    provider = partial(
        BackendProvider,
        watchdog=await stack.enter_async_context(Watchdog().running()),
        state=worker.state,
        peers=worker.peers,
        info=Implementation(name="switchboard", version=__version__),
        client_subscriptions=ClientSubscriptions(),
        ask_session=partial(ask, worker.state, worker.id),
        people=people,
    )
    fixed = tuple(map(provider, backends))
    keep = PluginCredentials(credentials.vault, credentials.outbound)
    processes = PluginProcesses(settings, partial(IsolatedPlugin, **provider.keywords), keep, worker.id, people)
    loader = PluginLoader(keep, people, RequestClient)
    plugins = ConfiguredPlugins(sources, loader, processes, keep, credentials.connectables)
    plugins.adopt(await plugins.made(configuration))
    calls = await stack.enter_async_context(opened_call_log(settings, worker.state, worker.id))
    calls.configure(call_rates(configuration))
    catalog = LiveCatalog(
        (*plugins.providers.values(), *fixed),
        bus=worker.bus,
        separator=configuration.separator,
        shapes=shapes(configuration.plugins),
        links=GivenLinks(worker.state),
        calls=calls,
    )
    selected = SelectedCatalog(catalog, configuration.presets, configuration.tool_search)
    context = SourceContext(settings.cache_dir, os.environ, (settings.config_file or Path()).parent)
    connect = partial(connected, provider)
    alone = partial(BackendProvider, watchdog=provider.keywords["watchdog"], info=provider.keywords["info"])
    authorized = CredentialsOfServers(
        credentials.outbound,
        credentials.vault,
        credentials.connectables,
        issuer_of(settings),
        credentials.own_issuer if settings.auth_mode == "integrated" else None,
        worker.state.clock,
    )
    servers = Servers(catalog, selected, context, connect, configuration, plugins, authorized, alone, fixed=fixed)
    credentials.notices.on_change(servers.account_changed)
    return _Offer(watched, catalog, selected, servers, CacheWatch(settings.cache_dir, lambda: servers.installs))


def _service(settings: Settings, worker: _Worker, offer: _Offer) -> _Service:
    parking = Parking(worker.peers, max_per_principal=settings.max_parked, server_info=lambda: server.server_info_stamp)
    tasks = Tasks(
        worker.state,
        worker.id,
        worker.heartbeat.alive,
        task_support(offer.selected),
        ttl=settings.task_ttl,
        max_per_principal=settings.max_tasks,
    )
    server = build_gateway(
        offer.selected,
        bus=worker.bus,
        version=__version__,
        keys=[derive(key, "request state") for key in settings.key_ring],
        audience=settings.mcp_url,
        set_level=worker.records.set_level,
        subscribe=worker.records.subscribe,
        unsubscribe=worker.records.unsubscribe,
        roots_changed=partial(tell_roots_changed, worker.state),
        middleware=[parking, tasks],
        around=[mark_unavailable],
        clock=worker.state.clock,
    )
    tasks.install(server)
    offer.catalog.on_change(server.refit)
    options = initialization_options(server)
    handshake = SessionService(
        server, options, worker.state, worker.records, worker.streams, worker.id, settings.max_requests
    )
    modern = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=settings.max_body_bytes)
    fast_path = FastPath(server, offer.selected) if settings.fast_path == "on" else NoFastPath()
    offer.catalog.on_change(fast_path.forget)
    return _Service(server, parking, tasks, handshake, modern, fast_path)


def _running(
    settings: Settings, worker: _Worker, offer: _Offer, service: _Service, leave: Callable[[], None]
) -> Iterable[AbstractAsyncContextManager[Any]]:
    """What runs while requests are served, in the order in which it starts."""

    def tell() -> Mapping[str, Any]:
        return {**_told(worker, offer, service), "rates": worker.recent.tell()}

    yield worker.heartbeat.running()
    yield background(worker.recent.run())
    yield worker.peers.running()
    yield worker.bus.running()
    yield offer.catalog.running(WorkerHost(worker.id, worker.state.kind, worker.streams, worker.bus))
    yield offer.servers.running(offer.watched)
    if settings.plugins_reload:
        yield background(follow_folder(offer.servers.plugins.sources, offer.watched.look, offer.servers.reload))
    control = WorkerControl(tell, offer.servers.restart, offer.servers.reload, offer.servers.connections, leave)
    yield answering(worker.peers, control)
    yield telling_of_streams(worker.peers, worker.streams)
    if not settings.redis_url:
        yield answering_here(settings.port, control)
    yield offer.cache.running()
    yield service.parking.running()
    yield service.tasks.running()
    yield service.modern.run()
    yield service.handshake.running({})
    yield worker.streams.running()


def _told(worker: _Worker, offer: _Offer, service: _Service) -> Mapping[str, Any]:
    """How this worker is doing, as a document."""
    problems = {"problem": offer.watched.problem, "cache": offer.cache.problem}
    load = {
        "streams": len(worker.streams),
        "requests": service.handshake.busy,
        "parked": service.parking.parked,
        "tasks": len(service.tasks),
        "draining": service.handshake.draining,
        "ways": {"fast": service.fast_path.short, "kernel": service.fast_path.aside},
    }
    return {"worker": worker.id, **load, **problems, **offer.servers.tell()}


def _endpoints(settings: Settings, worker: _Worker, offer: _Offer, service: _Service) -> Endpoints:
    scopes = offer.selected.entry_scopes
    mcp = McpEndpoint(
        HandshakeEndpoint(service.handshake, service.fast_path),
        service.modern.handle_request,
        worker.bus,
        listening=worker.streams.listening,
        watching=service.tasks.watch,
        readable=partial(readable, offer.selected),
        ending=worker.streams.revocation.ending,
        listed=worker.streams.listed,
        server_info=service.server.server_info_stamp,
        fast_path=service.fast_path,
        entry_scopes=scopes,
        clock=worker.state.clock,
    )
    one_stream = OneStreamSessions(service.handshake, worker.heartbeat.alive)
    http_sse = HttpSseEndpoint(one_stream, settings.base_path, scopes)
    websocket = WebSocketEndpoint(one_stream, settings.max_body_bytes, scopes)
    transports = (mcp, websocket, http_sse.stream, http_sse.message)
    return Endpoints(*(Selecting(each, offer.selected.serving) for each in transports))


def _tell(streams: OpenStreams, digest: str, event: ServerEvent) -> None:
    """Tell a person's streams alone; everybody's, if there is no digest."""
    streams.tell(lambda owner: not digest or person_digest(person_of(owner)) == digest, event)


def _variables(settings: Settings) -> Mapping[str, str]:
    """What the configuration may refer to, and the layer of the environment."""
    return {**variables(os.environ), OVERRIDES: settings.config_overrides}
