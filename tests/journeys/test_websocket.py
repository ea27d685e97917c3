"""A WebSocket through the load balancer, to real workers that are asked to leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tools.fleet.workers import Fleet

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
PATIENCE_S = 300


async def ask(socket: ClientConnection, id: int, method: str, params: dict[str, Any]) -> Any:
    """The answer to a request; the notifications that the demo sends of its own accord may come before it."""
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    async with asyncio.timeout(PATIENCE_S):
        while (said := json.loads(await socket.recv())).get("id") != id:
            assert "id" not in said
        return said


@asynccontextmanager
async def talking(fleet: Fleet) -> AsyncIterator[ClientConnection]:
    url = fleet.url.replace("http:", "ws:")
    async with connect(url, subprotocols=[Subprotocol("mcp")], proxy=None, open_timeout=PATIENCE_S) as socket:
        assert "result" in await ask(socket, 0, "initialize", HELLO)
        yield socket


async def closed_with(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else None


async def test_sockets_end_with_a_reason_and_their_clients_go_on_at_another_worker(
    start_fleet: Callable[..., Fleet],
) -> None:
    fleet = start_fleet(env={"AUTH_MODE": "none"})
    async with talking(fleet) as one, talking(fleet) as other:
        told = [await ask(each, 1, "tools/call", {"name": "whoami", "arguments": {}}) for each in (one, other)]
        assert len({each["result"]["structuredContent"]["worker"] for each in told}) == 2
        await one.send(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {"x": "x" * 5_000_000}}))
        assert await closed_with(one) == 1009
        leaving = asyncio.create_task(asyncio.to_thread(lambda: [each.stop(PATIENCE_S) for each in fleet.workers]))
        assert await closed_with(other) == 1012
        assert await leaving == [0, 0]
    fleet.restart(0)
    async with talking(fleet) as again:
        assert (await ask(again, 1, "ping", {}))["result"] == {}
