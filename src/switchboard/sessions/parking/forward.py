"""A retry that came to a worker which does not hold the call: ask the holder, relay what it says, watch its life.

Pub/sub may lose a message with a connection, so the question is repeated until it is answered; the holder knows the
repetition by its reply channel, and a round has one outcome however often it is asked for.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from switchboard.errors import StateUnavailable
from switchboard.sessions.parking.asks import Terms
from switchboard.sessions.parking.channels import Channel, relay
from switchboard.sessions.parking.outcome import Outcome
from switchboard.sessions.parking.refusals import unreachable, worker_lost
from switchboard.sessions.parking.ticket import Ticket
from switchboard.state import State
from switchboard.state.payloads import parsed

ACK_S: Final = 2.0
"""How long a holder may take to say that it has the question."""

ASK_AGAIN_S: Final = 3.0
"""How often the question is repeated, and the holder's life looked at, while the outcome is awaited."""

UNHEARD_S: Final = 15.0
"""After this long without a sign of the holder, alive or not, the client is told; with the rest, within 20 s."""

MAX_FRAMES: Final = 1_000
"""Frames that wait for a slow client; beyond these, notifications are dropped. An outcome never is, and of progress
that waits the newest is told."""

log = structlog.get_logger("switchboard.parking")


class _Inbox:
    """What the holder sent and nobody has read yet."""

    def __init__(self) -> None:
        self._frames: deque[dict[str, Any]] = deque()
        self._filled = asyncio.Event()

    def put(self, payload: str) -> None:
        """Take a payload from the hub; an empty one means that some may have been missed."""
        frame = parsed(payload) if payload else {"kind": "renewed"}
        if frame is None or not isinstance(frame.get("kind"), str):
            log.warning("parking.not_understood", length=len(payload))  # a worker of another version
            return
        final, progress = frame["kind"] in ("result", "error"), frame["kind"] == "progress"
        full = len(self._frames) >= MAX_FRAMES
        if progress and full and self._frames[-1]["kind"] == "progress":
            self._frames[-1] = frame
        elif final or progress or not full:
            self._frames.append(frame)
            self._filled.set()

    async def get(self, seconds: float) -> dict[str, Any] | None:
        """The next frame, or `None` when there was none in time."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                while not self._frames:
                    self._filled.clear()
                    await self._filled.wait()
        except TimeoutError:
            return None
        return self._frames.popleft()


class Forwarding:
    """The asking end."""

    def __init__(
        self,
        state: State,
        alive: Callable[[str], Awaitable[bool]],
        tell: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._state = state
        self._alive = alive
        self._tell = tell

    async def retry(
        self,
        ticket: Ticket,
        method: str,
        principal: str,
        answers: Mapping[str, Any],
        terms: Terms,
        channel: Channel,
    ) -> Outcome:
        """The outcome of the round, from the worker that holds the call.

        Raises:
            MCPError: that worker is lost, or cannot be reached now.
        """
        reply = secrets.token_hex(12)
        question = json.dumps(
            {
                "kind": "retry",
                "reply": reply,
                "ticket": [ticket.park, ticket.worker, ticket.round],
                "principal": principal,
                "answers": answers,
                "terms": terms.frame(),
            }
        )
        inbox = _Inbox()
        try:
            async with self._state.hub.subscribed(self._state.keys.parked_reply(reply), inbox.put):
                return await _Conversation(self, ticket.worker, method, question, inbox, channel).outcome()
        except StateUnavailable:
            raise unreachable() from None
        except asyncio.CancelledError:
            self._tell(self.say(ticket.worker, json.dumps({"kind": "cancel", "reply": reply})))
            raise

    async def say(self, worker: str, payload: str) -> None:
        """Tell a worker something; when Redis is away it stays unsaid, and the deadlines decide."""
        try:
            await self._state.hub.publish(self._state.keys.parked(worker), payload)
        except StateUnavailable as error:
            log.warning("parking.unsaid", to=worker, error=str(error))

    async def dead(self, worker: str) -> bool:
        """Whether the worker is known to be dead; not while Redis cannot be asked."""
        try:
            return not await self._alive(worker)
        except StateUnavailable:
            return False


class _Conversation:
    """One retry's questions to the holder, until there is an outcome."""

    def __init__(
        self, forwarding: Forwarding, holder: str, method: str, question: str, inbox: _Inbox, channel: Channel
    ) -> None:
        self._forwarding = forwarding
        self._holder = holder
        self._method = method
        self._question = question
        self._inbox = inbox
        self._channel = channel
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._again = self._clock() + ACK_S

    async def outcome(self) -> Outcome:
        """Ask, relay, and ask again; ends by an outcome or by a deadline."""
        await self._forwarding.say(self._holder, self._question)
        while True:
            frame = await self._inbox.get(self._again - self._clock())
            if frame is None:
                await self._look()
            elif frame["kind"] == "renewed":
                await self._ask_again()
            elif frame["kind"] in ("result", "error"):
                if (outcome := _read(frame)) is not None:
                    return outcome
            else:
                self._heard = self._clock()
                await _relayed(frame, self._channel)
                if self._clock() >= self._again:
                    await self._ask_again()

    async def _look(self) -> None:
        if await self._forwarding.dead(self._holder):
            log.warning("parking.worker_lost", holder=self._holder)
            raise worker_lost(self._method)
        if self._clock() - self._heard > UNHEARD_S:
            raise unreachable()
        await self._ask_again()

    async def _ask_again(self) -> None:
        self._again = self._clock() + ASK_AGAIN_S
        await self._forwarding.say(self._holder, self._question)


def _read(frame: Mapping[str, Any]) -> Outcome | None:
    try:
        return Outcome.read(frame)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("parking.not_understood", error=type(error).__name__)
        return None


async def _relayed(frame: Mapping[str, Any], channel: Channel) -> None:
    try:
        await relay(frame, channel)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("parking.not_understood", error=type(error).__name__)
