"""Workers that call each other, and a pub/sub that can be told to lose, double or hold back what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.fleet.peers import CallTiming, Peers
from switchboard.state import State, open_state
from tools.fleet.redis_cluster import RedisCluster, running_cluster

HASTE = CallTiming(first=0.05, again=0.1, begin=20, silent=20, abandoned=20, away=30, kept=20, gap=0.01)
"""Repeats soon, and gives nobody up."""

IMPATIENT = CallTiming(first=0.05, again=0.1, begin=0.3, silent=1, abandoned=1, away=2, kept=20, gap=0.01)
"""Gives up soon as well."""

Rule = Callable[[dict[str, Any], str], Sequence[str]]
"""What becomes of a frame: what is published instead, now, in that order."""


@dataclass
class Unreliable:
    """A hub whose publications pass a rule. Stands before a real one."""

    pubsub: Any
    rule: Rule | None = None
    said: list[dict[str, Any]] = field(default_factory=list)
    """Every frame that somebody wanted to publish."""

    async def publish(self, channel: str, payload: str) -> int:
        frame = json.loads(payload)
        self.said.append(frame)
        reached = 1
        for each in (payload,) if self.rule is None else self.rule(frame, payload):
            reached = await self.pubsub.publish(channel, each)
        return reached

    def subscribed(self, channel: str, listener: Callable[[str], None]) -> Any:
        return self.pubsub.subscribed(channel, listener)

    def kinds(self) -> list[str]:
        """The kinds of the frames, as they were said."""
        return [frame["kind"] for frame in self.said]


class Person:
    """A client: answers questions, and remembers what it was told. Satisfies `Channel`."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.asked: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        self.asked.append(method)
        await self.answering.wait()
        if method == "refuse":
            raise MCPError(-32042, "not that", {"why": "private"})
        return {"answer": params}

    async def notify(self, method: str, params: Any) -> None:
        self.told.append(params["data"])

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.told.append((progress, total, message))


class Work:
    """A handler that waits, and remembers what happened to it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls = 0
        self.lost: bool | None = None

    async def __call__(self, params: Any, channel: Any) -> Any:
        self.calls += 1
        self.began.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.lost = channel.lost
            self.cancelled.set()
            raise
        return {"did": dict(params)}


@dataclass
class Worker:
    """One running worker, and what it publishes through."""

    peers: Peers
    pubsub: Unreliable
    state: State


class Fleet:
    """Workers on one state; which of them are dead is the test's word."""

    def __init__(self, stack: AsyncExitStack, url: str | None, state: State) -> None:
        self._stack = stack
        self._url = url
        self._state = state
        self._lives: dict[str, AsyncExitStack] = {}
        self.dead: set[str] = set()

    async def alive(self, worker: str) -> bool:
        return worker not in self.dead

    async def start(self, name: str, rule: Rule | None = None, *, timing: CallTiming = HASTE, **options: Any) -> Worker:
        """Start a worker; what it publishes passes `rule`."""
        life = await self._stack.enter_async_context(AsyncExitStack())
        state = self._state if self._url is None else await life.enter_async_context(open_state(self._url))
        pubsub = Unreliable(state.pubsub, rule)
        given: Any = replace(state, pubsub=pubsub)  # type: ignore[arg-type]
        peers = Peers(given, name, alive=self.alive, timing=timing, **options)
        await life.enter_async_context(peers.running())
        self._lives[name] = life
        return Worker(peers, pubsub, state)

    async def stop(self, name: str) -> None:
        """End a worker in good order."""
        await self._lives.pop(name).aclose()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters and three replicas."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["memory://", "redis", "cluster"])
def state_url(request: pytest.FixtureRequest) -> str | None:
    """What to give to `open_state`: `None` for `memory://`, or the URL of an empty Redis or Redis Cluster."""
    if request.param == "memory://":
        return None
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        cluster.flush()
        return cluster.url
    url: str = request.getfixturevalue("redis_url")
    return url


@asynccontextmanager
async def _fleet(url: str | None) -> AsyncIterator[Fleet]:
    async with open_state(None) as memory, AsyncExitStack() as stack:
        yield Fleet(stack, url, memory)


@pytest.fixture
def open_fleet() -> Callable[..., Any]:
    """`async with open_fleet(state_url) as fleet`."""
    return _fleet


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """Workers on `memory://`."""
    async with _fleet(None) as opened:
        yield opened


@pytest.fixture
def person() -> Person:
    """A client."""
    return Person()


@pytest.fixture
def work() -> Work:
    """A handler that waits to be released."""
    return Work()
