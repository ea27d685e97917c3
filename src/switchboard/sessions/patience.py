"""Waiting for Redis to come back, for whoever has begun something; and what is said when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ErrorData

from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state import State

PATIENCE_S: Final = 60.0
"""How long a running request waits for Redis to come back before it is given up."""

AGAIN_S: Final = 0.25

STATE_AWAY: Final = "Shared state cannot be reached now; try again"

T = TypeVar("T")


async def patiently(state: State, work: Callable[[], Awaitable[T]], seconds: float = PATIENCE_S) -> T:
    """Do it, and again while Redis is away; a worker that leaves waits no longer than it may.

    Raises:
        StateUnavailable: Redis stayed away for so long.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            with state.guard():
                return await work()
        except StateUnavailable:
            if time.monotonic() >= min(until, state.contact.leave_at):
                raise
        await asyncio.sleep(AGAIN_S)


def state_away(error: StateUnavailable, *, begun: bool) -> MCPError:
    """What a client is told.

    Args:
        begun: whether something was begun that may have taken effect.
    """
    message = str(error) if isinstance(error, StateBusy) else STATE_AWAY
    data = {"reason": "state_unavailable", "retry": "if_idempotent" if begun else True}
    return MCPError.from_error_data(ErrorData(code=INTERNAL_ERROR, message=message, data=data))


@contextmanager
def told_to_handlers() -> Iterator[None]:
    """Around what a handler says or asks: an error of Redis becomes one that its tool answers with, with its reason."""
    try:
        yield
    except StateUnavailable as error:
        raise state_away(error, begun=True) from error
