"""The calls in flight on one connection, and which of them a request of the backend belongs to.

A backend that asks something (elicitation, sampling, roots) does so because of a call, but only an HTTP response stream
says which. So: the call whose stream it came on; else the only call in flight that can be asked; else it is refused,
and from then on calls that can be asked take turns on that connection.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from switchboard.backends.caller import ClientChannel, Params
from switchboard.protocol.client_requests import CLIENT_REQUESTS

_current_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("switchboard_backend_call", default=None)

QUESTIONS_PER_CALL: Final = 50
"""Questions that one call may have open at once."""

PROGRESS_WAITING: Final = 100
"""Progress of one call that may wait for its client."""


_AT_ONCE: Final = nullcontext()


class CallOver(MCPError):
    """The call ended before its client answered."""


@dataclass(slots=True)
class Progress:
    """Progress that waits to be told."""

    steps: tuple[float, float | None, str | None]


class Call:
    """One request on its way, and its clock: the clock stands still while a person is asked something."""

    def __init__(self, client_channel: ClientChannel, patience: float) -> None:
        self.client_channel = client_channel
        self._patience = patience
        self._timeout = asyncio.timeout(None)
        self._asks: set[anyio.CancelScope] = set()
        self._order = asyncio.Lock()
        """Notifications go on in the order they came."""
        self._reports = 0
        """Progress that waits for its turn."""
        self._newest: Progress | None = None
        """The last of it, if nothing came after it: newer progress takes its place once there are many."""

    def clock(self) -> _Clock:
        """A context that bounds the time without a sign of life.

        Raises:
            TimeoutError: it is over.
        """
        return _Clock(self, self._timeout, self._asks)

    def alive(self) -> None:
        """The backend gave a sign of life."""
        if not self._asks:
            self._set_deadline(asyncio.get_running_loop().time() + self._patience)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Pass progress on; of what comes much faster than the client takes it, the newest, and always the last."""
        self.alive()
        if not self.client_channel.wants_progress:
            return
        if self._newest is not None and self._reports >= PROGRESS_WAITING:
            self._newest.steps = (progress, total, message)
            return
        waiting = self._newest = Progress((progress, total, message))
        self._reports += 1
        try:
            async with self._order:
                if self._newest is waiting:
                    self._newest = None
                await self.client_channel.progress(*waiting.steps)
        finally:
            self._reports -= 1

    async def notify(self, method: str, params: Params | None) -> None:
        """Pass a notification on."""
        self._newest = None  # progress that comes after it must not overtake it
        async with self._order:
            await self.client_channel.notify(method, params)

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask the client, for as long as its call is in flight."""
        if len(self._asks) >= QUESTIONS_PER_CALL:
            raise MCPError(INVALID_REQUEST, f"This call has {QUESTIONS_PER_CALL} open questions already")
        scope = anyio.CancelScope()
        self._asks.add(scope)
        try:
            self._set_deadline(None)
            with scope:
                return await self.client_channel.ask(method, params)
        finally:
            self._asks.discard(scope)
            self.alive()
        raise CallOver(INVALID_REQUEST, "The call that this belonged to is over")

    def _set_deadline(self, deadline: float | None) -> None:
        try:
            self._timeout.reschedule(deadline)
        except RuntimeError:  # the call is over: there is no clock to set any more
            return


@dataclass(frozen=True, slots=True)
class _Clock:
    """See `Call.clock`."""

    call: Call
    timeout: asyncio.Timeout
    asks: set[anyio.CancelScope]

    async def __aenter__(self) -> None:
        await self.timeout.__aenter__()
        self.call.alive()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.timeout.__aexit__(kind, error, traceback)
        finally:
            for ask in list(self.asks):
                ask.cancel()


class InFlight:
    """The calls of one connection.

    Args:
        owned: whether all of them are one client's, so that what names no call may go to any.
    """

    def __init__(self, *, owned: bool) -> None:
        self._owned = owned
        self._calls: dict[Call, None] = {}
        self._turn = asyncio.Lock()
        self._takes_turns = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._calls)

    def turn(self, client_channel: ClientChannel, *, attributed: bool) -> AbstractAsyncContextManager[None]:
        """Entered when a call by `client_channel` may be in flight.

        Args:
            attributed: whether the transport tells which call a question belongs to.
        """
        waits = self._takes_turns and not attributed and client_channel.capabilities
        return self._turn if waits else _AT_ONCE

    @contextmanager
    def in_flight(self, call: Call) -> Iterator[None]:
        """Count a call; what is sent inside is known to be its own."""
        self._calls[call] = None
        self._idle.clear()
        reset = _current_call.set(call)
        try:
            yield
        finally:
            _current_call.reset(reset)
            del self._calls[call]
            if not self._calls:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until there is no call in flight."""
        await self._idle.wait()

    def owner_of_request(self, method: str) -> Call:
        """Whose question this is.

        Raises:
            MCPError: nobody's, or nobody knows.
        """
        call = self._named()
        if call is not None:
            return call
        able = [call for call in self._calls if CLIENT_REQUESTS[method].family in call.client_channel.capabilities]
        if len(able) > 1 and not (method == "roots/list" and self._owned):
            self._takes_turns = True
            raise MCPError(INVALID_REQUEST, f"{len(able)} calls are in flight; it cannot be told which of them asks")
        if not able:
            raise MCPError(INVALID_REQUEST, f"There is no call in flight whose client could be asked {method}")
        return able[0]

    def owner_of_notification(self) -> Call | None:
        """Whose notification this is; `None` if it may be a stranger's."""
        call = self._named()
        if call is not None:
            return call
        return next(iter(self._calls), None) if self._owned or len(self._calls) == 1 else None

    def _named(self) -> Call | None:
        call = _current_call.get()
        return call if call is not None and call in self._calls else None
