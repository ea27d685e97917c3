"""What callers and handlers see: the client's end of a call, the errors, the times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mcp.shared.exceptions import NoBackChannelError

from switchboard.errors import SwitchboardError
from switchboard.timing import Timing

Params = Mapping[str, Any]


class Channel(Protocol):
    """The client whose request a call belongs to."""

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        """Ask the client and wait for its answer.

        Raises:
            MCPError: it cannot be asked, or answered with an error.
        """
        ...

    async def notify(self, method: str, params: Params | None) -> None:
        """Send a notification that belongs to the call."""
        ...

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Report progress of the call."""
        ...


class ServedChannel(Channel, Protocol):
    """The client of a call that another worker made."""

    lost: bool
    """Whether that worker was lost; the handler is then cancelled, though its client did not cancel."""


Handler = Callable[[Params, ServedChannel], Awaitable[Any]]
"""Serves a call; returns what JSON can say. Its `MCPError` is raised at the caller, `NotHere` says that nothing was
done, and it is cancelled when the caller cancels or is lost."""


class _NoClient:
    """For a call that no client waits for. Satisfies `Channel`."""

    async def ask(self, method: str, params: Params | None) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Params | None) -> None:
        return

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        return


NO_CLIENT: Final[Channel] = _NoClient()


class PeerLost(SwitchboardError):
    """There is no answer from the other worker, and there will be none.

    Args:
        reason: why, in words that may go into a message.
        begun: whether the call may have begun: then trying again may do things twice.
        dead: whether the worker is known to have ended.
    """

    def __init__(self, reason: str, *, begun: bool, dead: bool = False) -> None:
        advice = "it may have had effects: check before trying again" if begun else "it did not begin: try again"
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.begun = begun
        self.dead = dead


class NotHere(SwitchboardError):
    """Raised by a handler that did nothing, since what the call is about is not on this worker."""


@dataclass(frozen=True, slots=True)
class CallTiming:
    """How long the two ends of a call wait for each other, in seconds."""

    first: float = 1.0
    """Before a call of which nothing was heard is sent again."""
    again: float = 3.0
    """Between repeats while the outcome is awaited, and before a silent worker's heartbeat is looked at."""
    begin: float = 3.0
    """Before a call that is made once, and of which nothing was heard, is given up if it has not begun."""
    silent: float = 15.0
    """Before the worker that serves is taken for lost."""
    abandoned: float = 20.0
    """Before the worker that called is taken for lost."""
    away: float = 75.0
    """Before a call is given up though Redis did not answer meanwhile."""
    kept: float = 30.0
    """How long an outcome is kept for a caller that missed it."""
    gap: float = 0.2
    """Between requests for frames that were missed."""

    @classmethod
    def of(cls, fleet: Timing) -> CallTiming:
        """Those that go with the times of a fleet: with its default, those above."""
        poll, lease = fleet.poll_s, fleet.lease_s
        return cls(poll / 3, poll, lease / 4, silent=lease * 5 / 4, abandoned=lease * 5 / 3, away=lease * 25 / 4)
