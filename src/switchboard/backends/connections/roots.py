"""`roots/list` of a backend that one client owns: answered whenever it is asked, also between two calls.

Servers ask when they start, or when they hear that the roots changed, and rarely during a call. So the question goes to
a call in flight; else to the session's own stream, if the client has one open; else to the next call, before that goes
to the backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.connections.inflight import Call, CallOver, InFlight

ROOTS_LIST: Final = "roots/list"
ROOTS_CHANGED: Final = "notifications/roots/list_changed"

NEXT_CALL_S: Final = 0.5
"""How long a call that is about to come is waited for, before the session's own stream is taken."""

CLIENT_ANSWER_S: Final = 5.0
"""How long a call waits for its client to answer the question that came before it."""

BACKEND_WRITE_S: Final = 1.0
"""How long a call waits until the backend was told."""

BACKEND_READ_S: Final = 0.2
"""What a backend gets to take the roots that it was given: it looks at them first, and would refuse the call."""

AskSession = Callable[[str, Params | None], Awaitable[dict[str, Any] | None]]
"""Asks the client on its session's own stream; `None` if it has none open."""


class Roots:
    """The question for roots on one connection."""

    def __init__(self, calls: InFlight, session: AskSession | None = None) -> None:
        self._calls = calls
        self._session = session
        self._waiting: dict[asyncio.Future[dict[str, Any]], asyncio.Task[Any] | None] = {}
        """What is waited for → who does, and then writes the answer to the backend."""
        self._client_silent = False
        """Whether the client once left the question unanswered: no call waits for it any more."""

    async def answer(self, params: Params | None) -> dict[str, Any]:
        """The client's answer.

        Raises:
            MCPError: the client's own error, or it does not answer.
        """
        while (call := self._call()) is not None:
            try:
                return await call.ask(ROOTS_LIST, params)
            except CallOver:
                continue  # it was too short: another one, or the session, may answer
        answer = await self._from_next_call(NEXT_CALL_S)
        if answer is None and self._session is not None:
            answer = await self._session(ROOTS_LIST, params)
        if answer is None:
            answer = await self._from_next_call(None)
        if answer is None:
            raise MCPError(INVALID_REQUEST, "There is no call in flight whose client could be asked roots/list")
        return answer

    async def answer_waiting(self, client_channel: ClientChannel) -> None:
        """Before a call: have its client answer what was asked since the last one."""
        if not self._waiting or "roots" not in client_channel.capabilities:
            return
        waiting, self._waiting = self._waiting, {}
        try:
            async with asyncio.timeout(CLIENT_ANSWER_S):
                answer = await client_channel.ask(ROOTS_LIST, None)
        except (MCPError, TimeoutError, ValueError) as error:
            self._client_silent = isinstance(error, TimeoutError)
            refusal = error if isinstance(error, MCPError) else MCPError(INVALID_REQUEST, "The client did not answer")
            _each(waiting, lambda one: one.set_exception(refusal))
        except BaseException:  # the call ended before the answer: the next one is asked
            self._waiting |= waiting
            raise
        else:
            _each(waiting, lambda one: one.set_result(answer))
        writing = [task for task in waiting.values() if task is not None]
        if writing:
            await asyncio.wait(writing, timeout=BACKEND_WRITE_S)
        await asyncio.sleep(BACKEND_READ_S)

    def _call(self) -> Call | None:
        try:
            return self._calls.owner_of_request(ROOTS_LIST)
        except MCPError:
            return None

    async def _from_next_call(self, seconds: float | None) -> dict[str, Any] | None:
        """Wait until a call that comes later brings the answer."""
        if self._client_silent:
            return None
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = asyncio.current_task()
        try:
            await asyncio.wait([answer], timeout=seconds)
            if answer.done():
                return answer.result()
            settling = answer not in self._waiting
            return await answer if settling else None
        finally:
            self._waiting.pop(answer, None)
            answer.cancel()


def _each(waiting: Iterable[asyncio.Future[Any]], settle: Callable[[asyncio.Future[Any]], None]) -> None:
    for one in waiting:
        if not one.done():
            settle(one)
