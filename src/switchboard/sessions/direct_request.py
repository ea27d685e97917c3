"""A request of the handshake era that is served in the task of its own POST, without an exchange.

Its handler cannot speak to the client, so there is nothing to be carried but its response. Only when it lasts does it
get what every exchange has: an attendant, a task that turns the reply into a stored stream and sends it, while the
handler goes on where it began. From then on the client may leave, and resume the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, NamedTuple, Protocol

import structlog
from mcp_types import ErrorData

from switchboard.errors import SessionGone, StateUnavailable
from switchboard.protocol.direct_requests import Prepared
from switchboard.sessions.exchange import CANCELLED, error_response, response
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
        stream: sends the client that stream.
        tasks: where the attendant runs.
    """

    def __init__(
        self, reply: Callable[[], Reply], stream: Callable[[Reply], Awaitable[None]], tasks: asyncio.TaskGroup
    ) -> None:
        self._new_reply = reply
        self._stream = stream
        self._tasks = tasks
        self._serving = asyncio.current_task()
        self._context = copy_context()
        self._running = True
        self._cancelled = False
        self._ended_by: ErrorData | None = None
        self._reply: Reply | None = None
        self._attendant: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def response(self, prepared: Prepared) -> Message | None:
        """Serve it. None: its client cancelled it, and there is no response."""
        outcome: Message | None = None
        try:
            outcome = await response(prepared.id, prepared.method, prepared.run())
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

    def cancel(self, answer: ErrorData | None = None) -> None:
        """See `Cancellable`."""
        if not self._running or self._serving is None:
            return
        self._ended_by = answer
        if not self._cancelled:
            self._cancelled = True
            self._serving.cancel()

    def attend(self) -> None:
        """It lasts: begin to turn its reply into a stream."""
        reply = self._reply = self._new_reply()
        reply.on_cancelled = lambda _request: self.cancel()
        reply.on_lost = lambda: self.cancel(CANCELLED)
        self._attendant = self._tasks.create_task(self._attend(reply), context=self._context)

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

    async def _attend(self, reply: Reply) -> None:
        try:
            await reply.commit()
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
