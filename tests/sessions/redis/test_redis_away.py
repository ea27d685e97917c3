"""Open streams while Redis does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from switchboard.sessions.streams import stored_stream
from tests.sessions.conftest import serving
from tools.messages import ACCEPT, INITIALIZE

LONGEST_SILENCE_S = 25
"""A sign of life is given every second here, and this machine may be busy."""

SLOW = "?socket_timeout=90"
"""A command waits for so long, as one to a Cluster may whose master dies: the signs must not wait for it."""


@pytest.fixture
async def frozen(start_private_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker, and the process of its Redis, which is thawed at the end of the test in any case."""
    monkeypatch.setattr(stored_stream, "KEEPALIVE_S", 1.0)
    server = start_private_redis()
    async with serving(server.url + SLOW, drain_timeout=0) as worker:
        try:
            yield worker, server.child
        finally:
            server.child.thaw()


async def opened(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    """The headers of a new session."""
    answer = await http.post(url, json=INITIALIZE, headers=ACCEPT)
    return {**ACCEPT, "mcp-session-id": answer.headers["mcp-session-id"]}


async def test_a_standalone_stream_gives_signs_of_life_while_redis_does_not_answer(frozen: Any) -> None:
    worker, server = frozen
    async with httpx2.AsyncClient(timeout=60) as http:
        session = await opened(http, worker.url)
        async with http.stream("GET", worker.url, headers=session) as stream:
            lines = stream.aiter_lines()
            while await anext(lines):
                pass
            [standalone] = worker.app.rooms.streams
            server.freeze()
            standalone.on_message("")  # it looks at Redis, and waits
            async with asyncio.timeout(LONGEST_SILENCE_S):
                assert await anext(lines) == ": keepalive"
            server.thaw()


async def test_a_resumed_reply_gives_signs_of_life_while_redis_does_not_answer(frozen: Any) -> None:
    worker, server = frozen
    async with httpx2.AsyncClient(timeout=60) as http:
        session = await opened(http, worker.url)
        params = {"name": "longRunningOperation", "arguments": {"duration": 60, "steps": 1}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with http.stream("POST", worker.url, json=call, headers=session) as reply:
            primed = await anext(reply.aiter_lines())
        last = {**session, "last-event-id": primed.removeprefix("id: ")}
        async with http.stream("GET", worker.url, headers=last) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": open"
            state, (name, _, _) = worker.app.rooms.state, last["last-event-id"].partition(".")
            async with state.pubsub.subscribed(state.keys.to_client(session["mcp-session-id"], name), lambda _: None):
                server.freeze()  # both subscriptions to the channel are confirmed by now
            async with asyncio.timeout(LONGEST_SILENCE_S):
                assert await anext(lines) == ": keepalive"
            server.thaw()
