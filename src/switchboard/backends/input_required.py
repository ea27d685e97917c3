"""`input_required` rounds of a modern backend, driven for a client of the handshake era.

A modern client gets the rounds as they are and drives them itself; a handshake client cannot, but it can be asked.

https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError

from switchboard.aio import first_error
from switchboard.backends.caller import ClientChannel
from switchboard.backends.errors import BAD_GATEWAY

MOST_ROUNDS: Final = 10
QUESTIONS_PER_ROUND: Final = 50
ROUND_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.25)
"""Between rounds in which nothing was asked: the backend only wants to be called again."""

Send = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Sends the request with these members added to its parameters."""


async def driven(backend: str, first: dict[str, Any], client_channel: ClientChannel, send: Send) -> dict[str, Any]:
    """The result at the end of the rounds.

    Raises:
        MCPError: the client refused an answer, or there is no end.
    """
    result = first
    for number in range(MOST_ROUNDS):
        if result.get("resultType") != "input_required":
            return result
        requests = result.get("inputRequests") or {}
        if not isinstance(requests, dict) or len(requests) > QUESTIONS_PER_ROUND:
            raise MCPError(BAD_GATEWAY, f"Backend {backend!r}: it asks in a way that cannot be understood")
        if not requests:
            await asyncio.sleep(ROUND_PAUSES_S[min(number, len(ROUND_PAUSES_S) - 1)])
        more: dict[str, Any] = {"inputResponses": await _answers(requests, client_channel)} if requests else {}
        if "requestState" in result:
            more["requestState"] = result["requestState"]
        result = await send(more)
    if result.get("resultType") != "input_required":
        return result
    raise MCPError(BAD_GATEWAY, f"Backend {backend!r}: it still asks after {MOST_ROUNDS} rounds")


async def _answers(requests: Mapping[str, Any], client_channel: ClientChannel) -> dict[str, Any]:
    """All at once. The first refusal ends the call, and the other questions with it."""
    try:
        async with asyncio.TaskGroup() as tasks:
            asked = {
                key: tasks.create_task(client_channel.ask(one["method"], one.get("params")))
                for key, one in requests.items()
            }
    except BaseExceptionGroup as refusals:
        raise first_error(refusals) from None
    return {key: task.result() for key, task in asked.items()}
