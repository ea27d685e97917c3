"""Workers for the session tests: real uvicorn servers in this process, over one Redis or over `memory://`."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2
import pytest

from switchboard.app import Application, build
from switchboard.settings import load_settings
from switchboard.state import State, open_state
from switchboard.timing import Timing
from tools.messages import ACCEPT, call, initialize
from tools.serving import Server
from tools.serving import serving as served

KEY = "a key for tests that is long enough to be one"
CAPABILITIES: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
HOLD_S = 60


@dataclass
class Worker:
    """One worker, and the port it serves."""

    app: Application
    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/mcp"


@dataclass
class Workers:
    """A fleet behind no balancer: a test says which worker gets which request, or lets them take turns."""

    every: list[Worker]
    http: httpx2.AsyncClient
    state: State
    _turns: Any = field(init=False)

    def __post_init__(self) -> None:
        self._turns = itertools.cycle(self.every)

    @property
    def redis(self) -> Any:
        """The shared state's commands; what they return depends on the command."""
        return self.state.redis

    @property
    def a(self) -> Worker:
        return self.every[0]

    @property
    def b(self) -> Worker:
        """Another worker where there is one; with `memory://` there is one only."""
        return self.every[-1]

    def next(self) -> Worker:
        worker: Worker = next(self._turns)
        return worker

    async def open(self, protocol: str = "2025-11-25", capabilities: dict[str, Any] | None = None) -> Session:
        """Initialize a session on worker a."""
        begin = initialize(protocol, CAPABILITIES if capabilities is None else capabilities)
        session = Session(self, "", protocol)
        answer = await session.post(self.a, begin, headers=ACCEPT)
        assert answer.status_code == 200, answer.text
        session.id = answer.headers["mcp-session-id"]
        session.opened = answer.json()["result"]
        done = await session.post(self.b, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert done.status_code == 202
        return session


@dataclass
class Session:
    """A client's side of one handshake session, written out in plain HTTP."""

    workers: Workers
    id: str
    protocol: str
    opened: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {**ACCEPT, "mcp-session-id": self.id, "mcp-protocol-version": self.protocol}

    async def post(self, worker: Worker, message: Any, *, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        return await self.workers.http.post(worker.url, json=message, headers=headers or self.headers)

    async def call(self, worker: Worker, tool: str, arguments: dict[str, Any] | None = None, id: Any = 1) -> Any:
        """Call a tool whose answer is short enough for JSON."""
        answer = await self.post(worker, call(tool, arguments, id))
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        return answer.json()["result"]

    @asynccontextmanager
    async def stream(self, worker: Worker, message: Any) -> AsyncIterator[Events]:
        """Post a message whose answer is a stream."""
        async with self.workers.http.stream("POST", worker.url, json=message, headers=self.headers) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield Events(response)

    @asynccontextmanager
    async def listen(self, worker: Worker, last_event_id: str | None = None) -> AsyncIterator[Events]:
        """Open the standalone stream, or resume one."""
        headers = {**self.headers, **({"last-event-id": last_event_id} if last_event_id else {})}
        async with self.workers.http.stream("GET", worker.url, headers=headers) as response:
            assert response.status_code == 200, (await response.aread()).decode()
            yield Events(response)


@dataclass
class Event:
    """One server-sent event."""

    id: str | None
    message: Any


class Events:
    """The events of one response, read one at a time with a deadline."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> Event:
        """The next event, the priming one included (its message is None)."""
        async with asyncio.timeout(HOLD_S):
            return await self._next()

    async def message(self) -> Event:
        """The next event that carries a message."""
        while True:
            event = await self.next()
            if event.message is not None:
                return event

    async def rest(self) -> list[Event]:
        """All messages up to the end of the stream."""
        events: list[Event] = []
        async with asyncio.timeout(HOLD_S):
            while True:
                try:
                    events.append(await self._next())
                except StopAsyncIteration:
                    return [event for event in events if event.message is not None]

    async def _next(self) -> Event:
        found: dict[str, str] = {}
        while True:
            line = await anext(self._lines)
            if line:
                name, _, value = line.partition(":")
                if name:
                    found[name] = value.strip()
            elif found:
                data = found.get("data")
                return Event(found.get("id"), json.loads(data) if data else None)


@asynccontextmanager
async def serving(
    redis_url: str | None, port: int = 0, timing: Timing | None = None, **settings: Any
) -> AsyncIterator[Worker]:
    """One worker on a free port, or on `port`; up when entered and down when left."""
    # What loads the machine, or lets the loop stand still between two requests, is the test's: nobody is turned away.
    calm = {"auth_mode": "none", "rate_limit": 0, "max_loop_lag": 0}
    given = {**calm, "secret_key": KEY, "redis_url": redis_url, **settings}
    app = build(load_settings(None, **given), timing=timing)
    async with served(app, app.drain, port, timeout_graceful_shutdown=2) as server:
        yield Worker(app, server, server.port)


class Start(Protocol):
    """Starts workers."""

    async def __call__(self, count: int = 2, *, memory: bool = False, **settings: Any) -> Workers: ...


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[Start]:
    """Start workers: `await start()` for two on Redis, `await start(1, memory=True)` for one on memory://."""
    async with AsyncExitStack() as stack:

        async def started(
            count: int = 2, *, memory: bool = False, timing: Timing | None = None, **settings: Any
        ) -> Workers:
            url = None if memory else redis_url
            state = await stack.enter_async_context(open_state(url, timing=timing))
            http = await stack.enter_async_context(httpx2.AsyncClient(timeout=HOLD_S))
            every = [await stack.enter_async_context(serving(url, timing=timing, **settings)) for _ in range(count)]
            return Workers(every, http, state)

        yield started


@pytest.fixture(params=["redis", "memory"])
async def workers(request: pytest.FixtureRequest, start: Start) -> Workers:
    """Two workers on one Redis; then, in the same body, one worker on memory://."""
    return await start(1, memory=True) if request.param == "memory" else await start()


@pytest.fixture
async def two(start: Start) -> Workers:
    """Two workers on one Redis."""
    return await start()


Asked = Callable[[str | bytes, dict[str, str], str], tuple[int, str, str]]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """Send one raw request to a worker that lives in a loop of its own, for tests that are synchronous.

    It is the same worker, with the same session, for all tests of a module. A stream is read up to its first chunk:
    what matters is how it began.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> tuple[Workers, Session]:
            worker = await stack.enter_async_context(serving(None))
            http = await stack.enter_async_context(httpx2.AsyncClient(timeout=HOLD_S))
            state = await stack.enter_async_context(open_state(None))
            workers = Workers([worker], http, state)
            return workers, await workers.open()

        workers, session = runner.run(opened())
        eras = {
            "handshake": {**session.headers, "content-type": "application/json"},
            "modern": {**ACCEPT, "content-type": "application/json", "mcp-protocol-version": "2026-07-28"},
            "none": {},
        }

        async def send(body: str | bytes, change: dict[str, str], era: str) -> tuple[int, str, str]:
            headers = {**eras[era], **change}
            async with workers.http.stream("POST", workers.a.url, content=body, headers=headers) as response:
                kind = response.headers.get("content-type", "")
                text = "" if kind.startswith("text/event-stream") else (await response.aread()).decode()
                return response.status_code, kind, text

        yield lambda body, change, era: runner.run(send(body, change, era))
        runner.run(stack.aclose())
