"""Calls for a child that another worker has: each is served once, also if that worker is slow, leaves or is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.backends.config import Backend
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_leases import ConnectionLease, ConnectionLeases
from switchboard.backends.connections.inflight import InFlight
from switchboard.backends.errors import Unreachable
from switchboard.backends.handover import Moved, RemoteConnection, serving
from switchboard.backends.routing import FIND_POLL_S, Routing
from switchboard.fleet.peers import Peers
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from switchboard.state.pubsub import SMALL_CHARS
from switchboard.timing import Timing
from tests.backends.conftest import Raw

TIMING = Timing()

KEY = ConnectionKey("session", "s1", "c")


class Quiet:
    """A client that asks for nothing. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "handshake"
    capabilities: Mapping[str, Any] = {}
    wants_progress = False

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        raise AssertionError(method)

    async def notify(self, method: str, params: Any) -> None:
        raise AssertionError(method)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        raise AssertionError


class Line:
    """A line whose calls end when they are let go."""

    version = "2025-11-25"
    lost = False

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.let_go = asyncio.Event()
        self.calls = 0

    async def request(self, method: str, params: Any, client_channel: Any, *, headers: Any = None) -> dict[str, Any]:
        self.calls += 1
        self.began.set()
        await self.let_go.wait()
        return {"method": method}

    @asynccontextmanager
    async def held(self, key: ConnectionKey, capabilities: Any) -> AsyncIterator[Any]:
        yield self


@pytest.fixture
async def state() -> AsyncIterator[State]:
    async with open_state(None) as opened:
        yield opened


@pytest.fixture
async def peers(state: State) -> AsyncIterator[Peers]:
    """A worker that calls itself: what it hands over goes through Redis all the same."""
    async with Peers(state, "w1").running() as running:
        yield running


def remote(peers: Peers) -> RemoteConnection:
    return RemoteConnection(peers, "w1-seat", "own", KEY)


async def test_a_call_is_sent_on_when_its_connection_is_elsewhere_by_now(peers: Peers) -> None:
    @asynccontextmanager
    async def moved(key: ConnectionKey, capabilities: Any) -> AsyncIterator[None]:
        yield None

    with pytest.raises(Moved, match="does not serve it"):
        await remote(peers).request("tools/call", {}, Quiet())
    async with serving(peers, "w1-seat", "own", moved):
        with pytest.raises(Moved, match="on another worker"):
            await remote(peers).request("tools/call", {}, Quiet())


async def test_a_call_begun_on_a_worker_that_leaves_is_finished_and_a_new_one_sent_on(peers: Peers) -> None:
    line, leaving = Line(), asyncio.Event()

    async def lives() -> None:
        async with serving(peers, "w1-seat", "own", line.held):
            await leaving.wait()

    life = asyncio.create_task(lives())
    await asyncio.sleep(0)
    first = asyncio.create_task(remote(peers).request("tools/call", {}, Quiet()))
    await line.began.wait()
    leaving.set()
    with pytest.raises(Moved, match="does not serve it"):
        await remote(peers).request("tools/call", {}, Quiet())
    line.let_go.set()
    assert await first == {"method": "tools/call"}
    await life
    assert line.calls == 1


async def test_a_call_that_ends_without_an_answer_says_that_it_may_have_been_done(peers: Peers) -> None:
    line = Line()
    async with serving(peers, "w1-seat", "own", line.held):
        call = asyncio.create_task(remote(peers).request("tools/call", {}, Quiet()))
        await line.began.wait()
        peers._server.close()
        with pytest.raises(MCPError, match="Backend 'own': its worker left before it answered") as caught:
            await call
    assert caught.value.error.data == {"backend": "own", "maybeDone": True}


async def test_a_connection_that_cannot_be_had_there_is_a_failure_of_the_backend(peers: Peers) -> None:
    @asynccontextmanager
    async def failing(key: ConnectionKey, capabilities: Any) -> AsyncIterator[None]:
        raise Unreachable("it did not start")
        yield

    async with serving(peers, "w1-seat", "own", failing):
        with pytest.raises(MCPError, match="Backend 'own': it did not start") as caught:
            await remote(peers).request("tools/call", {}, Quiet())
    assert caught.value.error.data == {"backend": "own", "maybeDone": False}


async def test_a_call_is_told_of_the_version_and_of_a_lost_memory_once(peers: Peers) -> None:
    line = Line()
    line.lost = True
    line.let_go.set()
    async with serving(peers, "w1-seat", "own", line.held):
        first, second = remote(peers), remote(peers)
        await first.request("tools/call", {}, Quiet())
        await second.request("tools/call", {}, Quiet())
    assert (first.version, first.lost, second.lost) == (Line.version, True, False)


async def test_handing_a_call_over_takes_four_redis_commands(redis_url: str, raw: Raw, commands: Any) -> None:
    line, backend = Line(), raw("own")
    line.let_go.set()
    async with open_state(redis_url) as state, Peers(state, "w1").running() as one, Peers(state, "w2").running() as two:
        holding, asking = ConnectionLeases(state, "w2-seat", backend), ConnectionLeases(state, "w1-seat", backend)
        assert isinstance(await holding.claim(KEY), ConnectionLease)
        async with serving(two, "w2-seat", "own", line.held), commands() as seen:
            seat = await asking.claim(KEY)
            assert seat == "w2-seat"
            await RemoteConnection(one, "w2-seat", "own", KEY).request("tools/call", {}, Quiet())
    assert seen == ["GET", "PUBLISH", "SET", "PUBLISH"]


@asynccontextmanager
async def routed(url: str, worker: str, backend: Backend, pool: Any = None) -> AsyncIterator[Routing]:
    """How a worker's calls find their connections; those of its own are `pool`'s."""
    async with open_state(url) as state, Peers(state, worker).running() as peers:
        routing = Routing(backend, pool, state, peers)
        async with routing.running():
            yield routing


class Pool:
    """A pool of one connection, and that connection."""

    version = "2025-11-25"
    lost = over = False

    def __init__(self) -> None:
        self.calls = InFlight(owned=True)
        self.served = 0

    @asynccontextmanager
    async def connection(self, _key: ConnectionKey, _capabilities: Any) -> AsyncIterator[Any]:
        yield self

    async def request(self, *_call: Any, **_options: Any) -> dict[str, Any]:
        self.served += 1
        return {}

    def stop(self) -> None:
        self.over = True

    async def closed(self) -> None:
        assert self.over


async def bumped(route: Any) -> Any:
    return await route.request("tools/call", {}, Quiet())


async def test_calls_in_a_row_go_to_the_worker_that_answered_without_another_look(
    redis_url: str, raw: Raw, commands: Any
) -> None:
    backend = raw("own")
    async with routed(redis_url, "w2", backend, Pool()) as two, routed(redis_url, "w1", backend) as one:
        await two.use(KEY, {}, bumped)
        async with commands() as seen:
            for _ in range(3):
                await one.use(KEY, {}, bumped)
    assert seen == ["GET", *["PUBLISH", "SET", "PUBLISH"] * 3]


async def test_a_worker_that_has_the_child_no_more_is_not_waited_for(redis_url: str, raw: Raw) -> None:
    first, second, backend = Pool(), Pool(), raw("own")
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(routed(redis_url, "w1", backend))
        async with routed(redis_url, "w2", backend, first) as two:
            await two.use(KEY, {}, bumped)
            await one.use(KEY, {}, bumped)
        # It has left in good order, and another has the child by now.
        three = await stack.enter_async_context(routed(redis_url, "w3", backend, second))
        await three.use(KEY, {}, bumped)
        began = asyncio.get_running_loop().time()
        await one.use(KEY, {}, bumped)
        assert asyncio.get_running_loop().time() - began < FIND_POLL_S, "it waited before it looked again"
    assert (first.served, second.served) == (2, 2)


async def test_a_worker_that_gave_the_child_to_another_says_so_and_is_not_asked_again(
    redis_url: str, raw: Raw, commands: Any
) -> None:
    first, second, backend = Pool(), Pool(), raw("own")
    async with (
        routed(redis_url, "w1", backend) as one,
        routed(redis_url, "w2", backend, first) as two,
        routed(redis_url, "w3", backend, second) as three,
    ):
        await two.use(KEY, {}, bumped)
        await one.use(KEY, {}, bumped)
        assert two._leases is not None
        lease = two._leases.mine(KEY)
        assert lease is not None
        await two._leases._given_back(lease)
        await three.use(KEY, {}, bumped)
        await one.use(KEY, {}, bumped)
        async with commands() as seen:
            await one.use(KEY, {}, bumped)
    assert seen == ["PUBLISH", "SET", "PUBLISH"]
    assert (first.served, second.served) == (2, 3)


async def test_an_answer_too_long_for_the_connection_of_look_ups_is_handed_over_too(redis_url: str) -> None:
    class Long(Line):
        async def request(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"text": "ü" * 2 * SMALL_CHARS}

    async with (
        open_state(redis_url) as state,
        Peers(state, "w1").running() as one,
        Peers(state, "w2").running() as two,
        serving(two, "w2-seat", "own", Long().held),
    ):
        answer = await RemoteConnection(one, "w2-seat", "own", KEY).request("tools/call", {}, Quiet())
    assert answer == {"text": "ü" * 2 * SMALL_CHARS}


async def test_a_worker_that_could_not_renew_its_claim_does_not_serve_on_it(
    state: State, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = raw("own")
    cut_off, other = ConnectionLeases(state, "seat", backend), ConnectionLeases(state, "other", backend)
    claim = await cut_off.claim(KEY)
    assert isinstance(claim, ConnectionLease)
    assert cut_off.mine(KEY) is claim
    assert await other.claim(KEY) == "seat"
    claim.renewed -= TIMING.lease_s  # as long as a lease is, it could not reach Redis
    assert cut_off.mine(KEY) is None


async def test_a_claim_that_lapsed_while_redis_was_away_is_its_holders_again_before_anybody_elses(
    state: State, raw: Raw
) -> None:
    backend, now = raw("own"), 100.0
    broken = replace(state, contact=Contact(lambda: now))
    broken.contact.answered()
    holding, other = ConnectionLeases(broken, "seat", backend), ConnectionLeases(broken, "other", backend)
    claim = await holding.claim(KEY)
    assert isinstance(claim, ConnectionLease)
    claim.renewed -= TIMING.lease_s
    await state.redis.delete(*holding._keys(KEY)[:1])  # as when it expires
    taking = asyncio.create_task(other.claim(KEY))
    done, _ = await asyncio.wait([taking], timeout=0.3)
    assert not done, "its holder may not have had the time to renew it"
    assert await holding.claim(KEY) is claim
    async with asyncio.timeout(60):
        assert await taking == "seat"
    assert holding.mine(KEY) is claim, "and its child is kept"
