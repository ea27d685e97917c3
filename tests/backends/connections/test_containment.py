"""A question or notice of a backend that ends badly ends by itself: the connection, and its child, go on."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp import Client

from switchboard.backends.connections.inbound import InboundRequests
from tests.backends.conftest import Open, Raw


async def test_a_question_whose_answer_is_cancelled_by_somebody_else_does_not_end_the_child(
    scripted: Raw, open_gateway: Open, monkeypatch: Any
) -> None:
    asked: list[str] = []

    async def cancelled(_self: InboundRequests, method: str, _params: Any) -> dict[str, Any]:
        asked.append(method)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        answer.cancel()
        return await answer

    async def told(_self: InboundRequests, method: str, _params: Any) -> None:
        await cancelled(_self, method, _params)

    monkeypatch.setattr(InboundRequests, "on_request", cancelled)
    monkeypatch.setattr(InboundRequests, "on_notification", told)
    question = '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}'
    notice = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    answer = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}'
    async with open_gateway(scripted({"say": {"tools/call": [question, notice, answer]}})) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            await client.call_tool("odd__t")
            (connection,) = opened.providers["odd"].pool.open
            await opened.until(lambda: len(asked) >= 2)
            for _ in range(3):
                await client.call_tool("odd__t")
            assert opened.providers["odd"].pool.open == (connection,)
            assert not connection.over
