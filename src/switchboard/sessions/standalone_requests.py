"""Asking a client something between its requests, on the standalone stream of its session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from switchboard.aio import wait_for_event
from switchboard.sessions.client_requests import answered, withdrawn
from switchboard.sessions.streams.standalone import append
from switchboard.state import State

ANSWER_S: Final = 10.0
"""How long the client may take."""

ANSWER_POLL_S: Final = 1.0
"""How often the stored answer is looked for without a wake-up."""

WITHDRAW_S: Final = 1.0


async def ask(
    state: State, worker: str, sid: str, method: str, params: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The client's answer, or `None` if it holds no such stream open.

    Raises:
        MCPError: the client answered with an error, or not in time.
        StateUnavailable: it cannot be asked now.
    """
    keys = state.keys
    number = f"{worker}-{secrets.token_hex(8)}"
    slot, woken = keys.inbox(sid, number), asyncio.Event()
    with state.guard():
        if not await state.redis.hget(keys.session(sid), "standalone"):
            return None
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params or {})}
    answer = ""
    async with state.pubsub.subscribed(keys.to_server(sid), lambda _payload: woken.set()):
        with state.guard():
            await state.scripts.place(keys=[keys.session(sid), slot], args=[int(ANSWER_S * 2000), ""])
        try:
            if not await append(state, sid, message):
                return None
            async with asyncio.timeout(ANSWER_S):
                while not (answer := await _stored(state, slot)):
                    await wait_for_event(woken, ANSWER_POLL_S)
                    woken.clear()
        except TimeoutError:
            raise MCPError(INTERNAL_ERROR, f"The client did not answer {method} within {ANSWER_S:g} s") from None
        finally:
            with anyio.move_on_after(WITHDRAW_S, shield=True), state.guard():
                await state.redis.delete(slot)
                if not answer:
                    await append(state, sid, withdrawn(number))
    return answered(answer)


async def _stored(state: State, slot: str) -> str:
    with state.guard():
        return str(await state.redis.get(slot) or "")
