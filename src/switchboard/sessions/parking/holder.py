"""The holding end of forwarded retries: other workers ask, this one has the call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from mcp.shared.exceptions import MCPError

from switchboard.errors import StateUnavailable
from switchboard.sessions.parking.asks import Terms
from switchboard.sessions.parking.channels import There
from switchboard.sessions.parking.lot import Lot
from switchboard.sessions.parking.outcome import Outcome
from switchboard.sessions.parking.ticket import Ticket
from switchboard.state import State
from switchboard.state.payloads import parsed

SILENT_S: Final = 20.0
"""A worker that repeats its question no more is taken for dead; the call then waits for its client elsewhere."""

log = structlog.get_logger("switchboard.parking")


@dataclass(frozen=True, slots=True)
class _Question:
    """A retry, as another worker sent it."""

    ticket: Ticket
    principal: str
    answers: Mapping[str, Any]
    terms: Terms

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> _Question:
        park, worker, number = message["ticket"]
        if not (isinstance(park, str) and isinstance(number, int) and isinstance(message["answers"], dict)):
            raise TypeError("a retry of another shape")
        ticket = Ticket(park, str(worker), number)
        return cls(ticket, message["principal"], message["answers"], Terms.read(message["terms"]))


class _Serving:
    """One forwarded retry while it is being answered."""

    def __init__(self, channel: There, task: asyncio.Task[None], silent_after: float) -> None:
        self._channel = channel
        self._task = task
        self._silent_after = silent_after
        self._timer: asyncio.TimerHandle | None = None
        self.heard()

    def heard(self) -> None:
        """The asking worker gave a sign of life."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._silent_after, self._lose)

    def cancel(self) -> None:
        """The client left."""
        self._task.cancel()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _lose(self) -> None:
        self._channel.lost = True
        self._task.cancel()


class Holder:
    """Answers what arrives on this worker's channel."""

    def __init__(
        self,
        state: State,
        lot: Lot,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        silent_after: float,
    ) -> None:
        self._state = state
        self._lot = lot
        self._spawn = spawn
        self._silent_after = silent_after
        self._serving: dict[str, _Serving] = {}
        self._closed = False

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True

    def hear(self, payload: str) -> None:
        """A message for this worker; an empty one means that some may have been missed, and they are repeated."""
        if not payload or self._closed:
            return
        try:
            message = parsed(payload) or {}
            question = _Question.read(message) if message["kind"] == "retry" else None
            reply = str(message["reply"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("parking.not_understood", error=repr(error))  # a worker of another version; it will give up
            return
        self._act(reply, question)

    def _act(self, reply: str, question: _Question | None) -> None:
        serving = self._serving.get(reply)
        if question is None:
            if serving is not None:
                serving.cancel()
        elif serving is None:
            self._serve(reply, question)
        else:
            serving.heard()
            self._spawn(self._send(reply, {"kind": "ack"}))

    def _serve(self, reply: str, question: _Question) -> None:
        async def send(frame: Mapping[str, Any]) -> None:
            await self._send(reply, frame)

        channel = There(send)
        task = self._spawn(self._answer(question, channel, send))
        serving = self._serving[reply] = _Serving(channel, task, self._silent_after)

        def done(_: object) -> None:
            serving.stop()
            del self._serving[reply]

        task.add_done_callback(done)

    async def _answer(
        self, question: _Question, channel: There, send: Callable[[Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        await send({"kind": "ack"})
        try:
            outcome = await self._lot.attend(
                question.ticket, question.principal, question.answers, question.terms, channel
            )
        except MCPError as error:
            outcome = Outcome(error=error)
        await send(outcome.frame())

    async def _send(self, reply: str, frame: Mapping[str, Any]) -> None:
        try:
            await self._state.hub.publish(self._state.keys.parked_reply(reply), json.dumps(frame))
        except StateUnavailable as error:  # the asking worker repeats its question, and the outcome is kept
            log.warning("parking.unsaid", frame=frame["kind"], error=str(error))
