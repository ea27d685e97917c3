"""The composition root, with `assembly.py`: the only place that knows every room, and that reads settings for them.

`build` gives an ASGI application. Its lifespan opens shared state, starts the rooms from the lowest up, and closes them
in the reverse order; requests are served in between.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard import __version__
from switchboard.account.personal import PersonalAccounts
from switchboard.account.routes import account_routes, browser_sign_in
from switchboard.account.sessions import Session
from switchboard.account.sign_in import SignIn
from switchboard.admin.administration import READ, Administration
from switchboard.admin.api import PATH as API_PATH
from switchboard.admin.api import Api
from switchboard.assembly import Rooms, open_rooms
from switchboard.audit.reading import verify
from switchboard.authorization import Authorization, authorize
from switchboard.backends import Backend
from switchboard.common.quota import Quota
from switchboard.console.console import Served, console_routes
from switchboard.errors import StateUnavailable
from switchboard.fleet import FleetLocks
from switchboard.http.http_sse import MESSAGE_PATH, SSE_PATH
from switchboard.http.landing import ForBrowsers, Landing
from switchboard.http.middleware.access import ToolOf
from switchboard.http.middleware.bearer import Gate, digest_of
from switchboard.http.middleware.errors import ErrorBoundary
from switchboard.http.middleware.guards import default_hosts, default_origins, probes
from switchboard.http.middleware.load_shedding import Load, LoadShedding, raise_limit, shortage
from switchboard.http.middleware.rate_limit import Counting, Permits, RateLimit, by_address, by_principal
from switchboard.http.one_pass import Limits, OnePass, Protocol
from switchboard.http.probes import LastRequests, Readiness, Starting, health_routes
from switchboard.http.request_body import refuse
from switchboard.http.responses import Elsewhere
from switchboard.http.scopes import InsufficientScope, require_for_call
from switchboard.http.stack import Policy, wrap
from switchboard.identity import Principal, current
from switchboard.keys import derive
from switchboard.outbound_auth.kept_id_tokens import KeptIdTokens
from switchboard.own_issuer import issuer_of
from switchboard.settings import Settings
from switchboard.sources.registry import Registry
from switchboard.state import State, awaiting_redis, join, open_state
from switchboard.telemetry.exposition import PATH as METRICS_PATH
from switchboard.telemetry.exposition import Metrics
from switchboard.telemetry.host import Host, OneProcess
from switchboard.telemetry.listener import listening
from switchboard.telemetry.metrics import Snapshot
from switchboard.telemetry.worker_gauges import everything
from switchboard.timing import Timing
from switchboard.worker_control import STREAMS, ask_workers

if TYPE_CHECKING:
    from switchboard.lab.opening import OpenLab

events = structlog.get_logger(__name__)

MCP_PATH: Final = "/mcp"
PING_S: Final = 1.0  # that `/readyz` waits for Redis

ADDRESS_SHARE: Final = 10
"""How many principals' quotas one address has: many people may sit behind it, guessed tokens still run dry."""


class Application:
    """The ASGI application of one worker."""

    def __init__(self, settings: Settings, backends: Sequence[Backend], timing: Timing) -> None:
        self._settings = settings
        self._timing = timing
        self._backends = backends
        self._served: ASGIApp | None = None
        self._lifespan = Starlette(lifespan=self._run)
        self._rooms: Rooms | None = None
        self._last_requests = LastRequests()
        self._shortage: tuple[str, ...] = ()
        self._starting = Starting(__version__)
        self._begun = False
        """Whether requests were ever served."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._lifespan if scope["type"] == "lifespan" else self._served or self._starting
        await self._last_requests(app, scope, receive, send)

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
        self._last_requests.draining = True
        if self._rooms is not None:
            self._rooms.streams.end_all()
            self._rooms.state.contact.leave(self._settings.drain_timeout)
            self._rooms.handshake.drain(self._settings.drain_timeout)
            # What memory:// knows of a task ends with the process: nobody would ever learn how it went.
            self._rooms.tasks.drain(self._settings.drain_timeout if self._settings.redis_url else 0)

    @asynccontextmanager
    async def _run(self, _app: Starlette) -> AsyncIterator[None]:
        """The lifespan: entered once requests are served, or once it is known that Redis has to be waited for."""
        entered, ending = asyncio.Event(), asyncio.Event()

        def waits(reason: str) -> None:
            self._starting.reason = reason
            entered.set()

        async def serve() -> None:
            await self._serve_rooms(entered.set, ending)

        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(
                awaiting_redis(serve, begun=lambda: self._begun or ending.is_set(), waits=waits)
            )
            serving.add_done_callback(lambda _task: entered.set())
            try:
                await entered.wait()
                yield
            finally:
                ending.set()
                if not self.serving:
                    serving.cancel()
        events.info("worker.stopped")

    async def _serve_rooms(self, serves: Callable[[], None], ending: asyncio.Event) -> None:
        """Open the rooms, serve, and close them; `StateUnavailable` while Redis cannot be reached."""
        async with AsyncExitStack() as stack:
            state = await _joined(self._settings, self._timing, stack)
            self._rooms = await open_rooms(self._settings, self._backends, state, stack, leave)
            metrics = await self._metrics(self._rooms, stack)
            served = await self._routed(self._rooms, metrics, stack)
            self._shortage = shortage(raise_limit())
            for warning in self._shortage:
                events.warning("descriptors.limited", risk=warning)
            events.info("worker.started", state=state.kind, auth=self._settings.auth_mode)
            self._served, self._begun = served, True
            serves()
            try:
                await ending.wait()
            finally:
                self._served = None

    async def _metrics(self, rooms: Rooms, stack: AsyncExitStack) -> Host | OneProcess:
        """The numbers of this host, on a port of their own if there is to be one."""
        settings = self._settings

        def own() -> Snapshot:
            return everything(rooms.tell())

        host = Host(settings.metrics_dir, own) if settings.metrics_dir else OneProcess(own)
        await stack.enter_async_context(host.running())
        if settings.metrics_port:
            open_to_all = Metrics(host.together)
            await stack.enter_async_context(listening(open_to_all, settings.metrics_host, settings.metrics_port))
        return host

    async def _routed(self, rooms: Rooms, metrics: Host | OneProcess, stack: AsyncExitStack) -> ASGIApp:
        settings, state = self._settings, rooms.state
        id_tokens = KeptIdTokens(rooms.credentials.vault, settings.base_uri)
        authorization = await authorize(settings, state, stack, rooms.credentials.own_issuer, id_tokens.keep)
        quota = Quota("mcp", settings.rate_limit)
        permits = Permits(state.redis, prefix=state.prefix, run=state.lookups.run)

        def guarded(path: str, endpoint: ASGIApp) -> Gate:
            return authorization.protect(RateLimit(ErrorBoundary(endpoint), permits, quota, by_principal), path)

        base = settings.base_path
        gate = guarded(MCP_PATH, rooms.endpoints.mcp)
        administration = _administration(settings, rooms)
        api = Api(administration, partial(guarded, MCP_PATH))
        signing_in = self._sign_in(authorization, rooms)
        landing = Landing(settings.mcp_url, __version__, signs_in=settings.auth_mode != "none")
        mcp = Route(base + MCP_PATH, ForBrowsers(gate, landing))
        lab = await self._lab(rooms, stack)
        routes = [
            mcp,
            WebSocketRoute(base + MCP_PATH, guarded(MCP_PATH, rooms.endpoints.websocket)),
            Route(base + SSE_PATH, guarded(SSE_PATH, rooms.endpoints.sse)),
            Route(base + MESSAGE_PATH, guarded(SSE_PATH, rooms.endpoints.message)),
            Route(f"{base}/", landing.page),
            *health_routes(self._readiness, base),
            *(lab.routes() if lab else ()),
            *authorization.routes,
            *self._account(signing_in, gate, rooms, quota, permits),
            Route(base + METRICS_PATH, guarded(MCP_PATH, _for_operators(administration, Metrics(metrics.together)))),
            Mount(base + API_PATH, api),
            *self._console(signing_in, administration, api, gate, quota, permits),
            *(Route(path, Elsewhere(settings.base_uri)) for path in (MCP_PATH, SSE_PATH, MESSAGE_PATH) if base),
        ]
        addresses = Quota("address", settings.rate_limit * ADDRESS_SHARE)
        load = Load(settings.max_loop_lag, settings.max_memory_mb << 20)
        await stack.enter_async_context(load.running())
        router, policy = Starlette(routes=routes), _policy(settings, self._public(authorization), rooms.tool_of)
        limits = Limits(load, permits, addresses, principals=quota)
        protocol = Protocol(mcp, rooms.endpoints.mcp, gate, rooms.handshake.records.begin)
        in_front: Callable[[ASGIApp], ASGIApp] = lab.in_front if lab else lambda app: app
        return wrap(
            router,
            policy,
            lambda app: LoadShedding(app, load, probes(base)),
            lambda app: RateLimit(app, permits, addresses, by_address),
            shortened=lambda table: in_front(OnePass(table, router, policy, limits, protocol)),
        )

    def _public(self, authorization: Authorization) -> tuple[str, ...]:
        """Paths that pages of any origin may ask."""
        lab = (f"{self._settings.base_path}/lab/",) if self._settings.lab == "on" else ()
        return (*authorization.public, *lab)

    async def _lab(self, rooms: Rooms, stack: AsyncExitStack) -> OpenLab | None:
        """The authorization lab, where it is on."""
        if self._settings.lab == "off":
            return None
        from switchboard.lab.opening import OpenLab

        settings = self._settings
        lab = OpenLab(rooms.state, settings.key_ring[0], settings.base_uri, __version__, settings.own_origin_of_lab)
        await stack.enter_async_context(lab.running())
        return lab

    def _sign_in(self, authorization: Authorization, rooms: Rooms) -> SignIn:
        """How people sign in with a browser, for all pages."""
        issuer = authorization.issuer(rooms.credentials.outbound) if authorization.issuer else None
        locks = FleetLocks(rooms.state, rooms.worker)
        return browser_sign_in(issuer, rooms.state, locks, self._settings.key_ring, self._settings.base_uri)

    def _console(
        self, signing_in: SignIn, administration: Administration, api: Api, gate: Gate, quota: Quota, permits: Permits
    ) -> Sequence[BaseRoute]:
        """The pages of operators."""

        async def admit(session: Session) -> None:
            await Counting(permits, quota, digest_of(session.principal)).spend(1)

        served = Served(api.unguarded, gate, api.fleet, lambda: self._last_requests.draining, administration.allows)
        return console_routes(signing_in, served, admit, self._settings.base_uri, __version__)

    def _account(self, signing_in: SignIn, gate: Gate, rooms: Rooms, quota: Quota, permits: Permits) -> Sequence[Route]:
        """The pages of people, and what programs ask for them."""
        settings, state, credentials = self._settings, rooms.state, rooms.credentials
        return account_routes(
            signing_in, gate, _accounts(rooms), credentials.links, state, permits, quota, settings.base_uri
        )

    async def _readiness(self) -> Readiness:
        rooms = self.rooms
        said = partial(Readiness, state=rooms.state.kind, worker=rooms.worker, version=__version__)
        if self._last_requests.draining:
            return said("draining")
        try:
            with rooms.state.guard():
                async with asyncio.timeout(PING_S):
                    await rooms.state.redis.ping()
        except (StateUnavailable, TimeoutError) as error:
            return said("degraded", details={"redis": str(error) or "no answer"})
        if not rooms.state.pubsub.connected:
            return said("degraded", details={"redis": "the connection for pub/sub does not answer; it is made anew"})
        state = rooms.state
        await rooms.cache.look()
        await rooms.credentials.vault.look()
        watched = (*state.replicas.warnings(), *state.clock.warnings(), *rooms.cache.warnings())
        kept = (*rooms.servers.warnings(), *rooms.credentials.vault.warnings())
        warnings = (*await rooms.checks.warnings(), *watched, *kept, *self._shortage)
        return said("ready", warnings=warnings)


async def _joined(settings: Settings, timing: Timing, stack: AsyncExitStack) -> State:
    """Open shared state, and join the fleet that uses it.

    Raises:
        ConfigurationError: Redis refuses us, or its fleet has other keys.
        StateUnavailable: Redis cannot be reached.
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


def build(settings: Settings, backends: Sequence[Backend] = (), timing: Timing | None = None) -> Application:
    """The application of one worker; nothing is opened before its lifespan starts.

    Args:
        backends: besides those of the configuration file.
        timing: how long workers wait for one another; the same for all that share a Redis.
    """
    return Application(settings, backends, timing or Timing())


def leave() -> None:
    """Have this process end as whoever started it would have it end: the worker drains first."""
    os.kill(os.getpid(), signal.SIGTERM)


def _for_operators(administration: Administration, app: ASGIApp) -> ASGIApp:
    """`app` for those who may see how the fleet is doing, as the API has it; 403 for others."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if administration.allows(current().principal, READ):
            await app(scope, receive, send)
        else:
            await refuse(InsufficientScope(frozenset({READ})), scope, send)

    return serve


def _accounts(rooms: Rooms) -> PersonalAccounts:
    return PersonalAccounts(rooms.credentials.connectables, rooms.credentials.vault, rooms.credentials.notices)


def _administration(settings: Settings, rooms: Rooms) -> Administration:
    return Administration(
        state=rooms.state,
        watched=rooms.watched,
        fresh=rooms.catalog.fresh,
        catalog=rooms.catalog.current,
        absent=lambda name: rooms.catalog.absent(name),  # it is set anew when servers come and go
        lacking=_lacking,
        issuer=issuer_of(settings),
        ask_workers=partial(ask_workers, rooms.state, rooms.peers),
        ask_for_streams=partial(ask_workers, rooms.state, rooms.peers, method=STREAMS),
        records=rooms.handshake.records,
        tasks=rooms.tasks.store,
        vault=rooms.credentials.vault,
        connectables=rooms.credentials.connectables,
        accounts=_accounts(rooms),
        audit=rooms.credentials.audit,
        verify_audit=partial(verify, rooms.state, settings.key_ring),
        check_plugin=rooms.servers.plugins.check,
        try_server=rooms.servers.tried,
        registry=Registry(settings.mcp_registry_url),
        tag_key=bytes.fromhex(derive(settings.key_ring[0], "entity tags")),
        mcp=ErrorBoundary(rooms.endpoints.mcp),
        mcp_url=settings.mcp_url,
        version=__version__,
        everybody=settings.auth_mode == "none" and settings.is_local,
    )


def _lacking(principal: Principal, scopes: frozenset[str]) -> frozenset[str]:
    """What a call that needs these scopes needs, if the principal may not make it."""
    try:
        require_for_call(principal, scopes)
    except InsufficientScope as error:
        return error.needed
    return frozenset()


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
