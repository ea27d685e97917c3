"""MCP over WebSocket: the official client session over a transport of ours, and the same written out frame by frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.session import ClientSession
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import jsonrpc_message_adapter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.sessions.conftest import Start, Worker, Workers
from tools.messages import INITIALIZE, call, request

SUBPROTOCOLS = [Subprotocol("mcp")]


def dial(worker: Worker, **more: Any) -> connect:
    url = worker.url.replace("http:", "ws:")
    return connect(url + more.pop("query", ""), **{"subprotocols": SUBPROTOCOLS, "proxy": None, **more})


async def answer(socket: ClientConnection) -> Any:
    async with asyncio.timeout(60):
        return json.loads(await socket.recv())


@asynccontextmanager
async def opened(worker: Worker, **more: Any) -> AsyncIterator[ClientConnection]:
    async with dial(worker, **more) as socket:
        await socket.send(json.dumps(INITIALIZE))
        assert (await answer(socket))["result"]["protocolVersion"] == "2025-11-25"
        await socket.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        yield socket


async def closed(socket: ClientConnection) -> int | None:
    """Read until the server closes; with which code."""
    async with asyncio.timeout(60):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else None


@asynccontextmanager
async def transport(worker: Worker) -> AsyncIterator[Any]:
    """What the SDK's client sessions speak through."""
    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, spoken = anyio.create_memory_object_stream[SessionMessage](0)

    async def hear() -> None:
        async with heard:
            async for text in socket:
                await heard.send(SessionMessage(jsonrpc_message_adapter.validate_json(text)))

    async def speak() -> None:
        async with spoken:
            async for message in spoken:
                await socket.send(message.message.model_dump_json(by_alias=True, exclude_unset=True))

    async with dial(worker) as socket, anyio.create_task_group() as tasks:
        tasks.start_soon(hear)
        tasks.start_soon(speak)
        async with read, write:
            yield read, write
        tasks.cancel_scope.cancel()


async def test_an_official_client_session_works_over_a_websocket(workers: Workers) -> None:
    async def roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///socket")])

    heard: list[float] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with transport(workers.a) as (read, write), ClientSession(read, write, list_roots_callback=roots) as client:
        await client.initialize()
        assert (await client.call_tool("echo", {"message": "x"})).content[0].text == "Echo: x"  # type: ignore[union-attr]
        assert "file:///socket" in str((await client.call_tool("listRoots", {})).content)
        slow = {"duration": 0.2, "steps": 2}
        await client.call_tool("longRunningOperation", slow, progress_callback=progress)
        assert len((await client.list_tools()).tools) > 10
    assert heard == [1, 2]


async def test_requests_are_served_side_by_side_and_answered_by_their_ids(workers: Workers) -> None:
    async with opened(workers.a) as socket:
        await socket.send(json.dumps(call("longRunningOperation", {"duration": 600, "steps": 1}, "slow")))
        for id in range(1, 21):
            await socket.send(json.dumps(call("echo", {"message": str(id)}, id)))
        answers = [await answer(socket) for _ in range(20)]
        await socket.send(
            json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}})
        )
    assert {each["id"]: each["result"]["content"][0]["text"] for each in answers} == {
        id: f"Echo: {id}" for id in range(1, 21)
    }


async def test_a_socket_is_told_nothing_before_the_answer_to_initialize(two: Workers) -> None:
    async with dial(two.a) as socket:
        async with asyncio.timeout(60):
            while not list(two.a.app.rooms.streams):
                await asyncio.sleep(0.01)
        await two.b.app.rooms.bus.publish(ToolsListChanged())
        for stream in two.a.app.rooms.streams:
            await stream.notify("notifications/message", {"level": "error", "data": "too early"})
        await socket.send(json.dumps(INITIALIZE))
        assert (await answer(socket))["result"]["protocolVersion"] == "2025-11-25"
        await two.b.app.rooms.bus.publish(ToolsListChanged())
        assert (await answer(socket))["method"] == "notifications/tools/list_changed"


async def test_the_session_ends_with_its_socket(two: Workers) -> None:
    async with opened(two.a):
        assert [key async for key in two.redis.scan_iter("session:*")]
    async with asyncio.timeout(60):
        while [key async for key in two.redis.scan_iter("session:*")]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"subprotocols": None}, 400),
        ({"subprotocols": [Subprotocol("graphql-ws")]}, 400),
        ({"origin": Origin("https://evil.example")}, 403),
        ({"additional_headers": {"Host": "evil.example"}}, 400),
        ({"query": "?preset=nothing"}, 404),
    ],
)
async def test_an_upgrade_is_checked_like_any_request(start: Start, more: Any, status: int) -> None:
    workers = await start(1, memory=True)
    with pytest.raises(InvalidStatus) as refused:
        async with dial(workers.a, **more):
            pass
    assert refused.value.response.status_code == status


async def test_without_a_token_the_upgrade_is_refused_with_the_challenge(start: Start) -> None:
    workers = await start(1, memory=True, auth_mode="integrated")
    for query, status in (("", 401), ("?access_token=abc", 400)):
        with pytest.raises(InvalidStatus) as refused:
            async with dial(workers.a, query=query):
                pass
        assert refused.value.response.status_code == status
        assert "resource_metadata" in refused.value.response.headers["www-authenticate"]


async def test_wrong_frames_get_errors_and_the_conversation_goes_on(start: Start) -> None:
    workers = await start(1, memory=True)
    async with opened(workers.a) as socket:
        for text, code in (
            ("not json", types.PARSE_ERROR),
            ("[]", types.INVALID_REQUEST),
            ('{"jsonrpc": "1.0"}', types.INVALID_REQUEST),
        ):
            await socket.send(text)
            said = await answer(socket)
            assert (said["id"], said["error"]["code"]) == (None, code)
        modern = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
        await socket.send(json.dumps(request("tools/list", 7, modern)))
        said = await answer(socket)
        assert said["id"] == 7
        assert "not served over WebSocket" in said["error"]["message"]
        await socket.send(json.dumps(request("ping", 8)))
        assert await answer(socket) == {"jsonrpc": "2.0", "id": 8, "result": {}}


async def test_what_is_too_large_or_binary_ends_the_connection_with_its_code(start: Start) -> None:
    workers = await start(1, memory=True, max_body_bytes=2000)
    async with opened(workers.a) as socket:
        await socket.send(json.dumps(call("echo", {"message": "x" * 2000})))
        assert await closed(socket) == 1009
    async with opened(workers.a) as socket:
        await socket.send(b"bytes")
        assert await closed(socket) == 1003


async def test_messages_count_against_the_quota(start: Start) -> None:
    workers = await start(1, memory=True, rate_limit=10)
    async with opened(workers.a) as socket:
        for id in range(1, 12):
            await socket.send(json.dumps(request("ping", id)))
        answers = [await answer(socket) for _ in range(11)]
    assert any("Too many requests" in each["error"]["message"] for each in answers if "error" in each)


async def test_messages_that_cannot_be_read_count_against_the_quota_too(start: Start) -> None:
    workers = await start(1, memory=True, rate_limit=10)
    async with opened(workers.a) as socket:
        for _ in range(12):
            await socket.send("not json")
            await answer(socket)
        await socket.send(json.dumps(request("ping", 1)))
        said = await answer(socket)
    assert "Too many requests" in said["error"]["message"]


async def test_sockets_count_among_the_streams_of_a_principal(start: Start) -> None:
    workers = await start(1, memory=True, max_streams=1)
    async with opened(workers.a):
        with pytest.raises(InvalidStatus) as refused:
            async with dial(workers.a):
                pass
        assert refused.value.response.status_code == 429
        assert b"MAX_STREAMS" in (refused.value.response.body or b"")


async def test_a_worker_that_leaves_closes_with_service_restart(two: Workers) -> None:
    async with opened(two.a) as socket:
        two.a.app.drain()
        assert await closed(socket) == 1012
    async with opened(two.b) as socket:
        await socket.send(json.dumps(request("ping", 1)))
        assert (await answer(socket))["result"] == {}


async def test_a_change_is_told_on_the_socket(two: Workers) -> None:
    async with opened(two.a) as socket:
        await socket.send(json.dumps(request("resources/subscribe", 1, {"uri": "test://static/resource/1"})))
        assert (await answer(socket))["id"] == 1
        await two.b.app.rooms.bus.publish(ResourceUpdated("test://static/resource/1"))
        assert (await answer(socket))["method"] == "notifications/resources/updated"
