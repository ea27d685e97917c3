"""Real backends: children on stdio, uvicorn servers of both eras, and gateways over them."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.subscriptions import ServerEvent
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)

from switchboard.app import build
from switchboard.backends import Backend, BackendProvider, Http, Patience, Stdio, Watchdog
from switchboard.fleet.peers import Peers
from switchboard.gateway import Gateway, LiveCatalog, build_gateway
from switchboard.plugins import OpenStream
from switchboard.settings import load_settings
from switchboard.state import State
from switchboard.timing import Timing
from tools.fleet.workers import unmeasured
from tools.serving import serving as served

SERVERS = Path(__file__).parent / "servers"
ROOT = Path(__file__).parents[2]
KEY = "a key for tests that is long enough to be one"
HASTE = Patience(start=20, call=10, idle=60, stop=0.5)


@dataclass
class LonelyHost:
    """A host of one worker without streams."""

    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    worker: str = "w1"
    state: str = "memory://"
    events: list[ServerEvent] = field(default_factory=list)

    def streams(self) -> Iterable[OpenStream]:
        return ()

    async def publish(self, event: ServerEvent) -> None:
        self.events.append(event)
        await self.bus.publish(event)


@dataclass
class Opened:
    """A gateway over backends, in this process and without HTTP in front."""

    server: Gateway
    catalog: LiveCatalog
    host: LonelyHost
    providers: dict[str, BackendProvider]

    async def until(self, settled: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until the backends are in some state."""
        async with asyncio.timeout(seconds):
            while not settled():
                await asyncio.sleep(0.01)

    async def discovered(self, *names: str) -> None:
        """Wait until these backends, or all, were reached."""
        wanted = [self.providers[name] for name in names or self.providers]
        await self.until(lambda: all(one.health.condition == "ready" for one in wanted))


Raw = Callable[..., Backend]
Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def raw() -> Raw:
    """A backend that runs `servers/raw.py`: `raw(name, mode, argument, **what a Backend takes)`."""

    def made(name: str, mode: str = "plain", argument: str = "", **options: Any) -> Backend:
        command = Stdio(sys.executable, ("-S", str(SERVERS / "raw.py"), mode, argument), era="handshake")
        return Backend(name, command, **{"scope": "shared", "patience": HASTE, **options})

    return made


@pytest.fixture
def scripted() -> Raw:
    """A backend that runs `servers/scripted.py`: `scripted(script, **what a Backend takes)`."""

    def made(script: dict[str, Any], **options: Any) -> Backend:
        words = ("-S", str(SERVERS / "scripted.py"), json.dumps(script))
        command = Stdio(sys.executable, words, era="handshake")
        return Backend("odd", command, **{"scope": "shared", "patience": HASTE, **options})

    return made


@pytest.fixture
def open_gateway() -> Open:
    """`open_gateway(backend, …)`: a running gateway, which clients in this process can be given."""

    @asynccontextmanager
    async def opening(*backends: Backend, state: State | None = None, worker: str = "w1") -> AsyncIterator[Opened]:
        host = LonelyHost(worker=worker)
        async with Watchdog().running() as watchdog, AsyncExitStack() as stack:
            peers = None if state is None else await stack.enter_async_context(Peers(state, worker).running())
            made = partial(BackendProvider, watchdog=watchdog, state=state, peers=peers)
            providers = {backend.name: made(backend) for backend in backends}
            catalog = LiveCatalog(list(providers.values()), bus=host.bus)
            server = build_gateway(catalog, bus=host.bus)
            async with catalog.running(host):
                yield Opened(server, catalog, host, providers)

    return opening


@asynccontextmanager
async def _serving(app: Any, on_exit: Callable[[], None] = lambda: None, port: int = 0) -> AsyncIterator[int]:
    async with served(app, on_exit, port) as server:
        yield server.port


@pytest.fixture
def handy() -> Any:
    """The module `servers/handy.py`."""
    spec = importlib.util.spec_from_file_location("handy", SERVERS / "handy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["handy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def handy_stdio() -> Stdio:
    """The handy server as a child."""
    return Stdio(sys.executable, (str(SERVERS / "handy.py"),))


@pytest.fixture
async def handy_http(handy: Any) -> AsyncIterator[Callable[..., Http]]:
    """The handy server over HTTP, which serves both eras: `handy_http(era="modern")`."""
    async with _serving(handy.server().streamable_http_app()) as port:
        yield lambda era="auto": Http((f"http://127.0.0.1:{port}/mcp",), era=era)


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve an ASGI application until the test ends: `await serve(app, port=0)` gives the URL of its `/mcp`."""
    async with AsyncExitStack() as stack:

        async def started(app: Any, port: int = 0) -> str:
            return f"http://127.0.0.1:{await stack.enter_async_context(_serving(app, port=port))}/mcp"

        yield started


@pytest.fixture
def serving() -> Callable[..., Any]:
    """Serve an ASGI application for as long as a context is open: `async with serving(app) as port`."""
    return _serving


Fleet = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """Whole workers over backends: `await fleet(backends, count=2, redis_url=…)` gives their URLs."""
    async with AsyncExitStack() as stack:

        async def started(
            backends: list[Backend],
            *,
            count: int = 1,
            redis_url: str | None = None,
            timing: Timing | None = None,
            **settings: Any,
        ) -> list[str]:
            urls = []
            for _ in range(count):
                given = {"auth_mode": "none", "rate_limit": 0, "secret_key": KEY, "redis_url": redis_url, **settings}
                app = build(load_settings(None, **given), backends, timing=timing)
                port = await stack.enter_async_context(_serving(app, app.drain))
                urls.append(f"http://localhost:{port}/mcp")
            return urls

        yield started


@dataclass
class Person:
    """A client's user: answers what it is asked, and remembers what it heard."""

    heard: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def elicit(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content={"name": f"bob{params.message.removeprefix('Who?')}"})

    async def sample(self, context: Any, params: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="four"), model="m")

    async def roots(self, context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///home")])

    async def log(self, params: Any) -> None:
        self.heard.append(params.data)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.append((progress, total, message))


class RoundRobin(httpx2.AsyncHTTPTransport):
    """A balancer without stickiness: each request goes to the next worker."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__()
        self._urls = urls
        self._number = itertools.count()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpx2.URL(self._urls[next(self._number) % len(self._urls)])
        request.url = url
        request.headers["host"] = url.netloc.decode()
        return await super().handle_async_request(request)


@asynccontextmanager
async def balanced(urls: list[str]) -> AsyncIterator[Any]:
    """A client's transport to several workers."""
    async with (
        httpx2.AsyncClient(transport=RoundRobin(urls), timeout=60) as http,
        streamable_http_client(urls[0], http_client=http) as streams,
    ):
        yield streams


Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Connect:
    """`connect(server or URL, era, person)`: an official client of either era, not yet entered."""

    def connected(to: Any, era: str, person: Person | None = None) -> Client:
        person = person or Person()
        return Client(
            to if not isinstance(to, list) else balanced(to),
            mode="legacy" if era == "handshake" else "auto",
            elicitation_callback=person.elicit,
            sampling_callback=person.sample,
            list_roots_callback=person.roots,
            logging_callback=person.log,
            log_level="debug" if era == "modern" else None,
        )

    return connected


@pytest.fixture
def person() -> Person:
    """A client's user."""
    return Person()


WORKER_PROCESS = """
import sys, uvicorn
from switchboard.app import build
from switchboard.backends import Backend, Http, Stdio
from switchboard.settings import load_settings
from tools.fleet.workers import HASTE
kind, port, redis_url, *where = sys.argv[1:]
transport = Http(tuple(where), era="handshake") if kind == "url" else Stdio(where[0], tuple(where[1:]), era="handshake")
scope = "shared" if kind == "shared" else None
settings = load_settings(None, auth_mode="none", rate_limit=0, secret_key="k" * 40, redis_url=redis_url)
app = build(settings, [Backend("own", transport, scope)], HASTE)
uvicorn.run(app, port=int(port), log_config=None, timeout_graceful_shutdown=1)
"""
"""A worker to kill, soon missed, with a backend called `own`: `"url"`, `"command"` or `"shared"`, then URL or words."""


@pytest.fixture
def worker_processes(redis_url: str, free_ports: list[int]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """`async with worker_processes("url", url) as workers`: two that answer, URL → process; ended at the end."""

    @asynccontextmanager
    async def running(kind: str, *where: str) -> AsyncIterator[dict[str, Process]]:
        workers: dict[str, Process] = {}
        try:
            for port in free_ports:
                command = (sys.executable, "-c", WORKER_PROCESS, kind, str(port), redis_url, *where)
                started = await asyncio.create_subprocess_exec(
                    *command, stdout=DEVNULL, stderr=DEVNULL, cwd=ROOT, env=unmeasured()
                )
                workers[f"http://localhost:{port}/mcp"] = started
            await asyncio.gather(*map(_up, workers))
            yield workers
        finally:
            for worker in workers.values():
                if worker.returncode is None:
                    worker.kill()
                    await worker.wait()

    return running


async def _up(url: str) -> None:
    async with asyncio.timeout(60), httpx2.AsyncClient() as http:
        while True:
            try:
                await http.get(url.replace("/mcp", "/healthz"))
            except httpx2.ConnectError:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.fixture
def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
