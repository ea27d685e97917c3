"""A fleet of lowlevel servers that park, over `memory://` or a real Redis, and a client that goes round them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.request_state import AESGCMRequestStateCodec
from mcp.server.runner import modern_on_request
from mcp.shared.dispatcher import OnRequest
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.transport_context import TransportContext

from switchboard.fleet.peers import CallTiming, Peers
from switchboard.fleet.peers.frames import PROTOCOL, Packed, packed_body
from switchboard.identity import Caller, Principal, serving
from switchboard.sessions.parking import Parking
from switchboard.sessions.parking.forward import METHOD
from switchboard.state import State, open_state
from tests.sessions.parking.asking_server import KEY, Gates, gateway

ALICE = Principal("https://issuer", "alice", "client", frozenset({"mcp"}))
EVERYTHING: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
VERSION = "2026-07-28"


@dataclass
class Post:
    """One POST as the dispatch context of its request: what was sent on its stream is in `frames`."""

    request_id: int = 1
    frames: list[tuple[Any, ...]] = field(default_factory=list)
    transport: TransportContext = field(default_factory=lambda: TransportContext(kind="post", can_send_request=False))
    can_send_request: bool = False
    message_metadata: None = None
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)

    async def send_raw_request(self, method: str, params: Any, opts: Any = None) -> dict[str, Any]:
        raise AssertionError("a modern server sent a request")

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: Any = None) -> None:
        self.frames.append((method, (params or {}).get("data")))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.frames.append(("progress", progress, message))


@dataclass
class Worker:
    """One running worker."""

    name: str
    state: State
    peers: Peers
    parking: Parking
    on_request: OnRequest
    task: asyncio.Task[None]
    leave: asyncio.Event


class Fleet:
    """Workers, and ways to call them."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.workers: dict[str, Worker] = {}
        self.dead: set[str] = set()
        self._turns = itertools.count()

    @staticmethod
    def opened(state: str) -> dict[str, Any]:
        """What is inside a sealed state."""
        inside: dict[str, Any] = json.loads(json.loads(AESGCMRequestStateCodec([KEY]).unseal(state))["s"])
        return inside

    async def asked_by_a_lost_worker(self, asked: dict[str, Any], responses: Any, principal: Principal = ALICE) -> None:
        """Send the retry of a question to `w0` as a worker does that then says no more."""
        continuation = self.opened(asked["requestState"])
        retry = {
            "ticket": [continuation["park"], continuation["worker"], continuation["round"]],
            "principal": principal.owner,
            "answers": responses,
            "terms": {"capabilities": EVERYTHING, "level": None},
        }
        state = self.workers["w1"].state
        frame = Packed(1, "call", packed_body({"method": METHOD, "params": retry, "once": False}))
        await state.pubsub.publish(state.keys.peer(PROTOCOL, "w0"), frame.text("r", "lost", 0, again=False))

    async def alive(self, worker: str) -> bool:
        return worker not in self.dead

    async def kill(self, name: str) -> None:
        """End a worker with everything that it holds, and have its heartbeat expire."""
        worker = self.workers.pop(name)
        worker.task.cancel()
        await asyncio.wait({worker.task})
        self.dead.add(name)

    async def call(
        self,
        worker: str,
        tool: str,
        *,
        method: str = "tools/call",
        state: str | None = None,
        responses: Any = None,
        capabilities: dict[str, Any] | None = None,
        level: str | None = None,
        principal: Principal = ALICE,
        post: Post | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """POST one round to a worker, and return its result."""
        meta: dict[str, Any] = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": EVERYTHING if capabilities is None else capabilities,
        }
        if level:
            meta["io.modelcontextprotocol/logLevel"] = level
        named = {"uri": tool} if method == "resources/read" else {"name": tool, "arguments": arguments or {}}
        params = {"_meta": meta, **named}
        if state is not None:
            params |= {"requestState": state}
        if responses is not None:
            params |= {"inputResponses": responses}
        with serving(Caller(principal)):
            return await self.workers[worker].on_request(post or Post(), method, params)

    async def turn(self, dctx: Any, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Serve a request on the next worker."""
        names = list(self.workers)
        worker = names[next(self._turns) % len(names)] if method == "tools/call" else names[0]
        with serving(Caller(ALICE)):
            return await self.workers[worker].on_request(dctx, method, params)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """The SDK's client, each of whose calls reaches the next worker."""
        async with Client(_RoundRobin(self.turn), read_timeout_seconds=20, **options) as client:
            yield client


class _RoundRobin:
    """A client-side transport whose requests go round the fleet."""

    def __init__(self, on_request: OnRequest) -> None:
        self._on_request = on_request

    async def __aenter__(self) -> Any:
        self._entered = self._connected()
        return await self._entered.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        await self._entered.__aexit__(*exc)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        async def ignore(*_: Any) -> None:
            return None

        async with create_client_server_memory_streams() as ((client_in, client_out), (server_in, server_out)):
            dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(server_in, server_out)
            async with anyio.create_task_group() as tasks:
                await tasks.start(dispatcher.run, self._on_request, ignore)
                yield client_in, client_out
                await client_out.aclose()
                tasks.cancel_scope.cancel()


Opener = Callable[..., Any]


@pytest.fixture(params=["memory://", "redis"])
def state_url(request: pytest.FixtureRequest) -> str | None:
    """`None` for `memory://`, or the URL of an empty Redis."""
    if request.param == "memory://":
        return None
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def new_post() -> type[Post]:
    """A POST whose frames a test looks at."""
    return Post


@pytest.fixture
def open_fleet() -> Opener:
    """`async with open_fleet(state_url, workers=2, **options_of_parking) as fleet`."""
    return _open_fleet


@asynccontextmanager
async def _open_fleet(url: str | None, *, workers: int = 2, **options: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(Gates())
    async with open_state(None) as memory:  # the workers of a real Redis each open their own
        for number in range(workers):
            await _start(fleet, f"w{number}", url, memory, options)
        try:
            yield fleet
        finally:
            for worker in list(fleet.workers.values()):
                worker.leave.set()
            await asyncio.gather(*(worker.task for worker in fleet.workers.values()))


async def _start(fleet: Fleet, name: str, url: str | None, memory: State, options: dict[str, Any]) -> None:
    up: asyncio.Future[tuple[State, Peers, Parking, OnRequest]] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def serve(state: State) -> None:
        alive: Callable[[str], Awaitable[bool]] = fleet.alive
        timing = CallTiming(abandoned=options.get("silent_after", CallTiming().abandoned))
        peers = Peers(state, name, alive=alive, timing=timing)
        given = {option: value for option, value in options.items() if option != "silent_after"}
        parking = Parking(peers, server_info=lambda: server.server_info_stamp, **given)
        server = gateway(parking, fleet.gates)
        async with peers.running(), parking.running(), server.lifespan(server) as lifespan_state:
            up.set_result((state, peers, parking, modern_on_request(server, lifespan_state)))
            await leave.wait()

    async def live() -> None:
        if url is None:
            await serve(memory)
        else:
            async with open_state(url) as state:
                await serve(state)

    task = asyncio.create_task(live())
    task.add_done_callback(lambda _: up.done() or up.cancel())
    state, peers, parking, on_request = await asyncio.wait_for(up, 60)
    fleet.workers[name] = Worker(name, state, peers, parking, on_request, task, leave)
