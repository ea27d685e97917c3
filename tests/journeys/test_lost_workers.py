"""A worker is killed in the middle of everything: what its clients notice of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

from tools.fleet.workers import COMMAND, Fleet

WATCHED = "test://static/resource/7"
LOSS_IS_TOLD_WITHIN = 20
"""Seconds after which a client that waits for a dead worker knows (DESIGN: leases last 12 s)."""

ACCEPT = {"accept": "application/json, text/event-stream"}

StartFleet = Callable[..., Fleet]


@dataclass
class Watcher:
    """Counts the updates of the watched resource."""

    updates: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            self.updates += 1
            self.changed.set()
            self.changed = anyio.Event()

    async def next(self) -> None:
        """Wait for one more update."""
        await self.changed.wait()


async def _accept(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Alice"})


@asynccontextmanager
async def connected(
    fleet: Fleet, mode: str, watcher: Watcher | None = None, token: str | None = None
) -> AsyncIterator[Client]:
    """The official Python client at the load balancer, signed in as alice."""
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token or fleet.token()}"}) as http,
        Client(
            streamable_http_client(fleet.url, http_client=http),
            mode=mode,
            elicitation_callback=_accept,
            message_handler=watcher,
        ) as client,
    ):
        yield client


async def whoami(client: Client) -> dict[str, Any]:
    """What the tool says of this request: the session, and the worker that served it."""
    told: dict[str, Any] | None = (await client.call_tool("whoami")).structured_content
    assert told is not None
    return told


@asynccontextmanager
async def bridged(fleet: Fleet, mode: str, watcher: Watcher) -> AsyncIterator[Client]:
    """The same on stdio, through `switchboard connect`."""
    command = StdioServerParameters(command=COMMAND, args=["connect", fleet.url, "--token", fleet.token()])
    async with Client(command, mode=mode, elicitation_callback=_accept, message_handler=watcher) as client:
        yield client


def who_answered(fleet: Fleet, turn: int) -> int:
    """Which worker answered POST number `turn`, counted from 0."""
    fleet.balancer.child.wait_until(lambda: len(fleet.balancer.turns()) > turn, timeout=120)
    return fleet.index_of(fleet.balancer.turns()[turn])


async def test_a_session_survives_the_worker_that_created_it(start_fleet: StartFleet) -> None:
    fleet = start_fleet()
    token = fleet.token()
    initialize = len(fleet.balancer.turns())
    async with connected(fleet, "legacy", token=token) as client:
        first = await whoami(client)
        maker = who_answered(fleet, initialize)
        fleet.kill(maker)

        after = [await whoami(client) for _ in range(4)]
        assert {each["session"] for each in after} == {first["session"]}
        assert len({each["worker"] for each in after}) == 1
        asked = await client.call_tool("elicitInputs")
        assert not asked.is_error

        fleet.restart(maker)
        again = [await whoami(client) for _ in range(4)]
        assert {each["session"] for each in again} == {first["session"]}
        assert len({each["worker"] for each in again}) == 2


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_bridged_client_keeps_its_session_and_its_news_whichever_worker_is_killed(
    start_fleet: StartFleet,
) -> None:
    fleet, watcher = start_fleet(), Watcher()
    with anyio.fail_after(120):
        async with bridged(fleet, "legacy", watcher) as client:
            session = (await whoami(client))["session"]
            await client.subscribe_resource(WATCHED)
            await watcher.next()
            for index in (0, 1):
                fleet.kill(index)
                assert (await whoami(client))["session"] == session
                assert not (await client.call_tool("elicitInputs")).is_error
                for _ in range(2):
                    await watcher.next()
                fleet.restart(index)


async def test_of_two_calls_the_one_on_the_dead_worker_ends_with_an_error_and_the_other_with_its_result(
    start_fleet: StartFleet,
) -> None:
    fleet = start_fleet()
    async with connected(fleet, "legacy") as client:
        outcomes: list[str] = []
        both_run = anyio.Event()
        running: set[int] = set()

        async def call(number: int) -> None:
            async def started(progress: float, total: float | None, message: str | None) -> None:
                running.add(number)
                if len(running) == 2:
                    both_run.set()

            try:
                work = {"duration": 12, "steps": 24}
                result = await client.call_tool("longRunningOperation", work, progress_callback=started)
                outcomes.append("error" if result.is_error else "result")
            except MCPError as lost:
                outcomes.append("error" if "worker" in lost.error.message else f"obscure error: {lost.error.message}")

        with anyio.fail_after(12 + LOSS_IS_TOLD_WITHIN + 10):
            async with anyio.create_task_group() as calls:
                calls.start_soon(call, 0)
                calls.start_soon(call, 1)
                await both_run.wait()
                fleet.kill(0)
        assert sorted(outcomes) == ["error", "result"]
        assert (await whoami(client))["session"]


async def test_updates_of_a_subscribed_resource_go_on_after_a_worker_died(start_fleet: StartFleet) -> None:
    """Which worker holds the stream is decided here: this client gives a stream up after its second abrupt end."""
    fleet, watcher = start_fleet(), Watcher()
    token = fleet.token()
    fleet.kill(1)
    async with connected(fleet, "legacy", watcher, token) as client:
        with pytest.warns(match="resources/subscribe is removed"):
            await client.subscribe_resource(WATCHED)
        with anyio.fail_after(20):
            await watcher.next()
        fleet.restart(1)
        fleet.kill(0)
        await _updated_twice(watcher)
        fleet.restart(0)
        assert fleet.workers[1].stop() == 0  # a stream that ends properly counts for nothing
        await _updated_twice(watcher)


async def _updated_twice(watcher: Watcher) -> None:
    with anyio.fail_after(LOSS_IS_TOLD_WITHIN):
        await watcher.next()
        await watcher.next()


async def test_a_modern_client_notices_nothing_of_a_dead_worker_between_its_calls(start_fleet: StartFleet) -> None:
    fleet = start_fleet()
    async with connected(fleet, "auto") as client:
        assert len({(await whoami(client))["worker"] for _ in range(4)}) == 2
        fleet.kill(1)
        assert len({(await whoami(client))["worker"] for _ in range(4)}) == 1
        trip = await client.call_tool("elicitInputs")
        assert not trip.is_error


async def test_a_worker_that_was_paused_past_its_lease_cannot_write_a_second_ending(start_fleet: StartFleet) -> None:
    fleet = start_fleet(env={"AUTH_MODE": "none"})
    paused, other = fleet.worker_url(0), fleet.worker_url(1)
    async with httpx2.AsyncClient(timeout=60) as http:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begun = await http.post(other, json=_request("initialize", hello), headers=ACCEPT)
        session = {**ACCEPT, "mcp-session-id": begun.headers["mcp-session-id"]}
        work = {
            "name": "longRunningOperation",
            "arguments": {"duration": 6, "steps": 12},
            "_meta": {"progressToken": 1},
        }
        async with http.stream("POST", paused, json=_request("tools/call", work), headers=session) as stream:
            lines = stream.aiter_lines()
            primed = await _next_id(lines)
            last = await _next_id(lines)
            fleet.workers[0].freeze()
            try:
                with anyio.fail_after(LOSS_IS_TOLD_WITHIN + 10):
                    resumed = await http.get(other, headers={**session, "last-event-id": last})
            finally:
                fleet.workers[0].thaw()
            with anyio.fail_after(20):
                woken = _messages(
                    [line async for line in lines]
                )  # ends when the worker sees that it was taken for dead
        replayed = _messages((await http.get(other, headers={**session, "last-event-id": primed})).text.splitlines())
    (ending,) = [message for message in _messages(resumed.text.splitlines()) if "id" in message]
    assert ending["error"]["data"]["reason"] == "worker_lost"
    assert not [message for message in woken if "id" in message]
    assert [message for message in replayed if "id" in message] == [ending]


def _request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def _next_id(lines: AsyncIterator[str]) -> str:
    while not (line := await anext(lines)).startswith("id: "):
        pass
    return line.removeprefix("id: ")


def _messages(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
