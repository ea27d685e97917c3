"""Calls for a child that another worker has: each is served once, also if that worker is slow, leaves or is cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.backends import peer_server as holder_module
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.connection_leases import ConnectionLease, ConnectionLeases
from switchboard.backends.peer_client import UNTAKEN_S, Moved, Remote
from switchboard.backends.peer_server import Holder
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from switchboard.timing import Timing

TIMING = Timing()

KEY = ConnectionKey("session", "s1", "c")


class Quiet:
    """A client that asks for nothing. Satisfies `north.North`."""

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


def holder(state: State, line: Line) -> Holder:
    return Holder(state, "seat", "own", line.held)


def remote(state: State) -> Remote:
    return Remote(state, "seat", "own", KEY)


async def test_a_call_begun_on_a_worker_that_leaves_is_finished_and_a_new_one_sent_on(state: State) -> None:
    line, leaving = Line(), asyncio.Event()

    async def lives() -> None:
        async with holder(state, line).running():
            await leaving.wait()

    life = asyncio.create_task(lives())
    first = asyncio.create_task(remote(state).request("tools/call", {}, Quiet()))
    await line.began.wait()
    leaving.set()
    with pytest.raises(Moved, match="on another worker"):
        await remote(state).request("tools/call", {}, Quiet())
    line.let_go.set()
    assert await first == {"method": "tools/call"}
    await life
    assert line.calls == 1


async def test_a_call_that_a_leaving_worker_cannot_finish_is_told_so(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder_module, "DRAIN_S", 0.1)
    line = Line()
    async with holder(state, line).running():
        call = asyncio.create_task(remote(state).request("tools/call", {}, Quiet()))
        await line.began.wait()
    with pytest.raises(MCPError, match="Backend 'own': its worker left before it answered") as caught:
        async with asyncio.timeout(5):
            await call
    assert caught.value.error.data == {"backend": "own", "maybeDone": True}


async def test_a_call_that_was_given_up_is_not_served_however_late_it_arrives(state: State) -> None:
    line, late = Line(), list[str]()
    async with state.hub.subscribed(state.keys.line_to("seat", "own"), late.append):
        async with asyncio.timeout(UNTAKEN_S + 5):
            with pytest.raises(Moved, match="does not answer"):
                await remote(state).request("tools/call", {}, Quiet())
    line.let_go.set()
    async with holder(state, line).running():
        for payload in late:
            if json.loads(payload).get("call"):
                await state.hub.publish(state.keys.line_to("seat", "own"), payload)
        assert await remote(state).request("ping", {}, Quiet()) == {"method": "ping"}
    assert line.calls == 1


async def test_a_worker_that_could_not_renew_its_claim_does_not_serve_on_it(
    state: State, raw: Any, monkeypatch: pytest.MonkeyPatch
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
    state: State, raw: Any
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
    async with asyncio.timeout(5):
        assert await taking == "seat"
    assert holding.mine(KEY) is claim, "and its child is kept"
