"""A request of the handshake era that is served in the task of its own POST, without an exchange.

There is nothing to be carried but its response, as long as its handler does not speak to the client. When it does, or
when it lasts, it gets what every exchange has: a reply that can become a stored stream, and an attendant, a task that
sends it, while the handler goes on where it began. From then on the client may leave, and resume the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, NamedTuple, Protocol

import structlog
from mcp_types import ErrorData

from switchboard.errors import SessionGone, StateUnavailable
from switchboard.protocol.direct_requests import Prepared, Unfinished
from switchboard.sessions.exchange import CANCELLED, Exchange, error_response, response
from switchboard.sessions.streams.reply import Reply

log = structlog.get_logger("switchboard.sessions")

Message = dict[str, Any]


class Cancellable(Protocol):
    """A request that runs on this worker."""

    def cancel(self, answer: ErrorData | None = None) -> None:
        """End it: with `answer` when this worker cannot finish it, without when its client cancelled it."""
        ...


class DirectOutcome(NamedTuple):
    """How a request ended."""

    response: Message | None
    """What to answer; None when the client cancelled it."""
    streamed: bool
    """Whether the client was sent it, as a stream."""


class DirectRequest:
    """One such request, from the task that serves it.

    Args:
        reply: makes the reply, should it become a stream.
        settle: waits until a reply is complete or a stream, which it becomes when it lasts.
        stream: sends the client that stream.
        exchange: what a handler speaks through, over that reply.
        lifespan_state: the server's.
        tasks: where the attendant runs.
    """

    def __init__(
        self,
        reply: Callable[[], Reply],
        settle: Callable[[Reply], Awaitable[None]],
        stream: Callable[[Reply], Awaitable[None]],
        exchange: Callable[[Reply], Exchange],
        lifespan_state: Any,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._new_reply = reply
        self._settle = settle
        self._stream = stream
        self._new_exchange = exchange
        self._lifespan_state = lifespan_state
        self._tasks = tasks
        self._serving = asyncio.current_task()
        self._context = copy_context()
        self._running = True
        self._cancelled = False
        self._ended_by: ErrorData | None = None
        self._reply: Reply | None = None
        self._exchange: Exchange | None = None
        self._attendant: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def response(self, prepared: Prepared) -> Message | None:
        """Serve it. None: its client cancelled it, and there is no response."""
        outcome: Message | None = None
        try:
            outcome = await response(prepared.id, prepared.method, self._result(prepared))
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            if self._ended_by is not None:
                outcome = error_response(prepared.id, self._ended_by)
        finally:
            self._running = False
        if self._cancelled and self._serving is not None:
            self._serving.uncancel()
        return outcome

    async def _result(self, prepared: Prepared) -> Message:
        try:
            return await prepared.run()
        except Unfinished as unfinished:
            rest = unfinished.rest
        exchange = self._exchange = self._new_exchange(self._replying(self._settle))
        return await exchange.finished(rest, self._lifespan_state)

    def cancel(self, answer: ErrorData | None = None) -> None:
        """See `Cancellable`."""
        if not self._running or self._serving is None:
            return
        self._ended_by = answer
        if self._exchange is not None:
            self._exchange.cancel_requested.set()
        if not self._cancelled:
            self._cancelled = True
            self._serving.cancel()

    def attend(self) -> None:
        """It lasts: begin to turn its reply into a stream."""
        if self._reply is None:  # else its handler speaks, and the attendant sees to that by itself
            self._replying(Reply.commit)

    def _replying(self, settle: Callable[[Reply], Awaitable[None]]) -> Reply:
        """The reply, and with it the attendant, which sends it once it is settled as a stream."""
        if self._reply is None:
            reply = self._reply = self._new_reply()
            reply.on_cancelled = lambda _request: self.cancel()
            reply.on_lost = lambda: self.cancel(CANCELLED)
            self._attendant = self._tasks.create_task(self._attend(reply, settle), context=self._context)
        return self._reply

    async def streamed(self, prepared: Prepared, outcome: Message | None) -> bool:
        """End the reply, if it became a stream, and wait until it was sent; whether it was.

        Raises:
            SessionGone, StateUnavailable: it could not become a stream.
        """
        reply, attendant = self._reply, self._attendant
        if reply is None or attendant is None:
            return False
        try:
            await _finish(reply, prepared, outcome)
            await asyncio.wait([attendant])
        finally:
            attendant.cancel()
            await reply.close()
        if self._failure is not None:
            raise self._failure
        return reply.committed

    async def _attend(self, reply: Reply, settle: Callable[[Reply], Awaitable[None]]) -> None:
        try:
            await settle(reply)
            if reply.committed:
                await self._stream(reply)
        except Exception as error:  # the request's own task raises it: one client must not end the task group of all
            self._failure = error
        finally:
            reply.detach()


async def _finish(reply: Reply, prepared: Prepared, outcome: Message | None) -> None:
    try:
        await reply.finish(prepared.id, outcome)
    except (SessionGone, StateUnavailable) as error:
        log.warning("exchange.unanswered", method=prepared.method, reason=type(error).__name__)
