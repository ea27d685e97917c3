"""HTTP+SSE (2024-11-05) clients: one stream, messages through any worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

from switchboard.identity import ANONYMOUS
from tests.sessions.conftest import Start, Worker, Workers
from tools.fleet.workers import HASTE
from tools.messages import call, initialize

INITIALIZE = initialize("2024-11-05", {"roots": {}})


@dataclass
class Old:
    """A client of the old transport, written out in plain HTTP."""

    workers: Any
    path: str
    events: AsyncIterator[tuple[str, str]]

    @property
    def sid(self) -> str:
        return self.path.partition("=")[2]

    async def post(self, worker: Worker, message: Any) -> int:
        url = worker.url.removesuffix("/mcp") + self.path
        status: int = (await self.workers.http.post(url, json=message)).status_code
        return status

    async def next(self) -> Any:
        async with asyncio.timeout(60):
            return json.loads((await anext(self.events))[1])


@asynccontextmanager
async def connected(workers: Workers, *, initialize: bool = True) -> AsyncIterator[Old]:
    url = workers.a.url.replace("/mcp", "/sse")
    async with workers.http.stream("GET", url, headers={"accept": "text/event-stream"}) as response:
        assert response.status_code == 200
        events = _events(response)
        kind, path = await anext(events)
        assert kind == "endpoint"
        old = Old(workers, path, events)
        if initialize:
            assert await old.post(workers.b, INITIALIZE) == 202
            assert (await old.next())["result"]["protocolVersion"] == "2024-11-05"
            await old.post(workers.a, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield old


async def _events(response: Any) -> AsyncIterator[tuple[str, str]]:
    kind = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, value


async def test_the_official_client_of_the_old_transport_works(workers: Workers) -> None:
    async def roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///old")])

    async with (
        sse_client(workers.a.url.replace("/mcp", "/sse")) as (read, write),
        ClientSession(read, write, list_roots_callback=roots) as client,
    ):
        await client.initialize()
        assert (await client.call_tool("echo", {"message": "x"})).content[0].text == "Echo: x"  # type: ignore[union-attr]
        assert "file:///old" in str((await client.call_tool("listRoots", {})).content)
        assert len((await client.list_tools()).tools) > 10


async def test_a_message_posted_on_any_worker_is_answered_on_the_one_stream(workers: Workers) -> None:
    async with connected(workers) as old:
        for id in range(1, 5):
            assert await old.post(workers.next(), call("echo", {"message": str(id)}, id)) == 202
            answer = await old.next()
            assert (answer["id"], answer["result"]["content"][0]["text"]) == (id, f"Echo: {id}")


async def test_progress_and_answer_come_in_order_on_the_stream(workers: Workers) -> None:
    async with connected(workers) as old:
        await old.post(workers.b, call("longRunningOperation", {"duration": 0.2, "steps": 2}, progressToken="p"))
        seen = [await old.next() for _ in range(3)]
    assert [each["params"]["progress"] for each in seen[:2]] == [1, 2]
    assert seen[2]["id"] == 1


async def test_a_question_is_asked_on_the_stream_and_answered_through_any_worker(workers: Workers) -> None:
    async with connected(workers) as old:
        await old.post(workers.a, call("listRoots"))
        question = await old.next()
        assert question["method"] == "roots/list"
        await old.post(workers.b, {"jsonrpc": "2.0", "id": question["id"], "result": {"roots": [{"uri": "file:///x"}]}})
        assert "file:///x" in str((await old.next())["result"])


async def test_nothing_but_initialize_is_served_first(workers: Workers) -> None:
    async with connected(workers, initialize=False) as old:
        assert await old.post(workers.b, call("echo", {"message": "x"})) == 202
        assert "initialize" in (await old.next())["error"]["message"]


async def test_the_session_ends_with_its_stream(workers: Workers) -> None:
    async with connected(workers) as old:
        pass
    async with asyncio.timeout(60):
        while await old.post(workers.b, call("echo", {"message": "x"})) != 404:
            await asyncio.sleep(0.01)


async def test_a_request_of_a_worker_that_died_is_ended_on_the_stream(start: Start) -> None:
    two = await start(timing=HASTE)
    async with connected(two) as old:
        keys, name = two.state.keys, "deadbeefdead"
        names = [keys.session(old.sid), keys.events(old.sid, name), keys.exchange(old.sid, name)]
        await two.state.scripts.open(keys=names, args=["wdead:1", 1, "[77]"])
        pointer = [keys.to_client(old.sid, "s"), 100, '{"reply":"deadbeefdead"}']
        await two.state.scripts.append(keys=[keys.session(old.sid), keys.events(old.sid, "s")], args=pointer)
        lost = await old.next()
    assert lost["id"] == 77
    assert lost["error"]["data"]["reason"] == "worker_lost"


async def test_bad_requests_have_their_own_status(start: Start) -> None:
    workers = await start(1, memory=True)
    base = workers.a.url.removesuffix("/mcp")
    post = workers.http.post
    assert (await post(f"{base}/message", json=INITIALIZE)).status_code == 400
    assert (await post(f"{base}/message?sessionId={'0' * 48}", json=INITIALIZE)).status_code == 404
    assert (await post(f"{base}/message?sessionId=a&sessionId=b", json=INITIALIZE)).status_code == 400
    assert (await post(f"{base}/message?sessionId=a", content=b"x")).status_code == 415
    assert (await post(f"{base}/sse", json={})).status_code == 405
    assert (await workers.http.get(f"{base}/sse", headers={"accept": "application/json"})).status_code == 406


async def test_messages_for_a_stream_whose_worker_died_are_not_found_and_the_session_ends(start: Start) -> None:
    two = await start(timing=HASTE)
    rooms = two.b.app.rooms
    ours = two.b.app.rooms.handshake.records
    for holder, status in ((rooms.worker, 202), ("w0123dead", 404)):
        sid = await ours.reserve(ANONYMOUS.owner)
        key = two.state.keys.session(sid)
        await two.redis.hset(key, "standalone", f"{holder}:{'0' * 16}")
        old = Old(two, f"/message?sessionId={sid}", aiter_of_nothing())
        async with asyncio.timeout(60):
            while (answered := await old.post(two.a, INITIALIZE)) != status:
                await asyncio.sleep(0.1)  # nobody is taken for dead within one heartbeat of a worker's own start
        assert answered == status
        assert await two.redis.exists(key) == (status == 202)


async def test_a_message_for_a_stream_that_nobody_holds_is_not_found(two: Workers) -> None:
    sid = await two.b.app.rooms.handshake.records.reserve(ANONYMOUS.owner)
    assert await Old(two, f"/message?sessionId={sid}", aiter_of_nothing()).post(two.a, INITIALIZE) == 404


async def aiter_of_nothing() -> AsyncIterator[tuple[str, str]]:
    return
    yield
