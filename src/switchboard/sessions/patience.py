"""What is done and said while Redis is away: work that has begun waits, and its client hears why it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, ErrorData
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.errors import StateBusy, StateUnavailable
from switchboard.state import State

REDIS_AWAY_S: Final = 60.0
"""How long a running request waits for Redis to come back before it is given up."""

RETRY_S: Final = 0.25

UNAVAILABLE: Final = "switchboard.unavailable"
"""Set in the scope of a request that is to be answered 503."""

STATE_AWAY: Final = "Shared state cannot be reached now; try again"

T = TypeVar("T")


async def patiently(state: State, work: Callable[[], Awaitable[T]], seconds: float = REDIS_AWAY_S) -> T:
    """Do the work, and again while Redis is away; a worker that stops waits no longer than it may.

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
        await asyncio.sleep(RETRY_S)


def state_away(error: StateUnavailable, *, begun: bool) -> MCPError:
    """The error for a client when Redis was away.

    Args:
        begun: whether something was begun that may have taken effect.
    """
    message = str(error) if isinstance(error, StateBusy) else STATE_AWAY
    data = {"reason": "state_unavailable", "retry": "if_idempotent" if begun else True}
    return MCPError.from_error_data(ErrorData(code=INTERNAL_ERROR, message=message, data=data))


@contextmanager
def told_to_handlers() -> Iterator[None]:
    """Around what a handler says or asks: `StateUnavailable` becomes an error that the client understands."""
    try:
        yield
    except StateUnavailable as error:
        raise state_away(error, begun=True) from error


async def mark_unavailable(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The outermost middleware of the gateway's server: marks requests of the modern era that Redis could not serve.

    The SDK turns every error of a handler into an answer with status 200. This one is to be repeated, and proxies and
    clients know that by 503, with which `http` answers a request that is marked.
    """
    try:
        return await call_next(ctx)
    except StateUnavailable as error:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise  # the exchange words it
        scope = getattr(ctx.request, "scope", None)
        if isinstance(scope, dict):
            scope[UNAVAILABLE] = True
        raise state_away(error, begun=False) from error
