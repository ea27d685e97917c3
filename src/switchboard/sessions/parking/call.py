"""One call whose handler may wait for its client: its rounds, its open questions, its end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Protocol

from mcp.server.connection import Connection
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import REQUEST_TIMEOUT

from switchboard.fleet.peers import ServedChannel
from switchboard.protocol.client_requests import CLIENT_REQUESTS
from switchboard.sessions.client_requests import Ask, Terms
from switchboard.sessions.parking.continuation import Continuation
from switchboard.sessions.parking.errors import cancelled, not_parked, too_many
from switchboard.sessions.parking.outcome import Outcome

BATCH_TURNS: Final = 5
"""Turns of the event loop that sibling tasks get to ask in the same round."""

MAX_ASKS: Final = 100
"""Questions that one call may have open at once."""

KEPT_ROUNDS: Final = 16
"""Rounds whose outcome is kept for a client that repeats itself; clients stop after ten."""

KEEP_S: Final = 30.0
"""How long the last outcome is kept for a client that asks for it again."""


class Keeper(Protocol):
    """Who keeps the call: the lot."""

    worker: str
    ttl: float

    def stamp(self) -> Mapping[str, Any]:
        """What every answer carries besides."""
        ...

    def admit(self, call: Call) -> None:
        """Make room for a call that is about to ask; raises when there is none."""
        ...

    def ended(self, call: Call) -> None:
        """The handler ended."""
        ...

    def forget(self, call: Call) -> None:
        """The call is no longer wanted."""
        ...


class _Round:
    """One request of the client, and its answer."""

    __slots__ = ("outcome", "seats")

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.seats: dict[object, ServedChannel] = {}
        """Who waits for the outcome: one, or several identical retries."""


class Call:
    """A call in progress. It becomes a parked one when its handler asks for the first time."""

    def __init__(self, keeper: Keeper, principal: str, method: str, version: str, terms: Terms) -> None:
        self.principal = principal
        self.method = method
        self.version = version
        self.terms = terms
        self.task: asyncio.Task[None] | None = None
        self.connection: Connection | None = None
        """What the handler believes to be its client's connection."""
        self.parked = False
        self._keeper = keeper
        self._rounds = {0: _Round()}
        self._current = 0
        self._asks: dict[str, Ask] = {}
        self._minted = 0
        self._countdown = 0
        self._final: Outcome | None = None
        self._verdict: MCPError | None = None
        self._timer: asyncio.TimerHandle | None = None

    @cached_property
    def id(self) -> str:
        """By which its client comes back; drawn when the call is parked."""
        return secrets.token_hex(12)

    # --- the client's side ---

    async def attend(self, number: int, channel: ServedChannel) -> Outcome:
        """Wait for the outcome of a round, hearing what it says meanwhile; leaving early cancels the call."""
        current = self._rounds.get(number)
        if current is None:
            raise not_parked()
        seat = object()
        current.seats[seat] = channel
        if not current.outcome.done():
            self.stop_clock()  # it may run since another worker, which attended, was lost
        try:
            return await asyncio.shield(current.outcome)
        finally:
            del current.seats[seat]
            if not current.outcome.done() and not current.seats:
                self._abandon(channel)

    def begin(self, number: int, answers: Mapping[str, Any], terms: Terms) -> None:
        """Begin the round of that number, unless an identical request did already."""
        if number != self._current + 1 or not self._rounds[self._current].outcome.done():
            return
        self._current = number
        self._rounds[number] = _Round()
        self._rounds.pop(number - KEPT_ROUNDS, None)
        self.stop_clock()
        self._agree(terms)
        self._feed(answers)
        if self._final is not None:
            self._answer(self._final)
        else:
            self._settle_soon()

    def _abandon(self, channel: ServedChannel) -> None:
        if channel.lost:
            self._start_clock(self._keeper.ttl)  # its client may come back through another worker
        else:
            self.cancel()

    def _agree(self, terms: Terms) -> None:
        self.terms = terms
        if self.connection is not None:
            self.connection.client_capabilities = terms.capabilities
        for ask in list(self._asks.values()):
            try:
                terms.check(ask.method, ask.params)
            except MCPError as error:
                ask.refuse(error)

    def _feed(self, answers: Mapping[str, Any]) -> None:
        for key in [key for key, ask in self._asks.items() if ask.answer.done() or ask.take(answers.get(key))]:
            del self._asks[key]

    # --- the handler's side ---

    @property
    def closed(self) -> bool:
        """Whether the handler has ended; something it left behind can ask no more."""
        return self._final is not None

    async def ask(self, method: str, params: Mapping[str, Any] | None, timeout: float | None) -> dict[str, Any]:
        """Park until the client has answered.

        Raises:
            NoBackChannelError: a request that no round can carry (`ping`).
            MCPError: the client cannot answer it, there is no room, or the time is over.
        """
        if method not in CLIENT_REQUESTS or self.closed:
            raise NoBackChannelError(method)
        self.terms.check(method, params or {})
        ask = Ask.make(self.method, self.version, method, params)
        if len(self._asks) >= MAX_ASKS:
            raise too_many("questions in one call", MAX_ASKS)
        self._keeper.admit(self)
        key = f"{method.partition('/')[0]}-{self._minted}"
        self._minted += 1
        self._asks[key] = ask
        self._settle_soon()
        try:
            async with asyncio.timeout(timeout):
                return await ask.answer
        except TimeoutError:
            raise MCPError(REQUEST_TIMEOUT, f"Timed out after {timeout}s waiting for {method!r}") from None
        finally:
            self._asks.pop(key, None)

    async def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send a notification with the current round's answer; between rounds there is nowhere to send it."""
        if method == "notifications/message" and not self.terms.wants_log(self.version, params):
            return
        for channel in list(self._rounds[self._current].seats.values()):
            await channel.notify(method, params)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress under the current round's token."""
        for channel in list(self._rounds[self._current].seats.values()):
            await channel.progress(progress, total, message)

    def end(self, outcome: Outcome | None = None) -> None:
        """The handler ended: with an outcome, or by cancellation."""
        if self._final is None:
            self._final = outcome.wrapped() if outcome else Outcome(error=self._verdict or cancelled())
            self._asks.clear()
            self._answer(self._final)
            self._keeper.ended(self)

    # --- both ---

    def cancel(self, verdict: MCPError | None = None) -> None:
        """End the handler; whoever still waits gets `verdict`, or hears that its request was cancelled."""
        self.stop_clock()
        self._verdict = verdict
        if self.task is not None:
            self.task.cancel()

    def expire(self) -> None:
        """Nobody came in time."""
        self.cancel(not_parked())
        self._keeper.forget(self)

    def _settle_soon(self) -> None:
        running = self._countdown > 0
        self._countdown = BATCH_TURNS
        if not running:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._countdown -= 1
        if self._countdown > 0:
            asyncio.get_running_loop().call_soon(self._turn)
        elif self._asks and self._final is None:
            self._park()

    def _park(self) -> None:
        self._answer(
            Outcome(
                {
                    "resultType": "input_required",
                    "inputRequests": {key: ask.request for key, ask in self._asks.items()},
                    "requestState": Continuation(self.id, self._keeper.worker, self._current + 1).text(),
                    **self._keeper.stamp(),
                }
            )
        )

    def _answer(self, outcome: Outcome) -> None:
        current = self._rounds[self._current]
        if not current.outcome.done():
            current.outcome.set_result(outcome)
            if self.parked:
                self._start_clock(KEEP_S if self._final else self._keeper.ttl)

    def _start_clock(self, seconds: float) -> None:
        self.stop_clock()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.expire)

    def stop_clock(self) -> None:
        """Wait without an end, or no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
