"""Starting while Redis is away: it may come back in a moment, and starts as late as we do when a machine boots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import AuthenticationError

from switchboard.errors import ConfigurationError, StateUnavailable
from switchboard.state.fingerprint import check_fingerprint

if TYPE_CHECKING:
    from switchboard.state.connect import State

JOIN_S: Final = 30.0
"""How long a worker that starts waits for Redis."""

RETRY_S: Final = 0.25

log = structlog.get_logger("switchboard.state")


async def join(state: State, keys: Sequence[str]) -> None:
    """Greet Redis, and join the fleet that uses it.

    Raises:
        ConfigurationError: Redis refuses us, or its fleet has other keys.
        StateUnavailable: Redis cannot be reached.
    """
    try:
        await state.greet()
        await check_fingerprint(state, keys)
    except StateUnavailable as error:
        if isinstance(error.__cause__, AuthenticationError):
            raise ConfigurationError(f"REDIS_URL: Redis refuses the user or the password in it ({error})") from error
        raise


async def awaiting_redis(
    attempt: Callable[[], Awaitable[None]],
    *,
    begun: Callable[[], bool] = lambda: False,
    waits: Callable[[str], None] = lambda _reason: None,
) -> None:
    """Make an attempt, and again while it fails since Redis is away and nothing has begun yet; said once in the log.

    Args:
        begun: whether the attempt came so far that its failure is no failure to start.
        waits: told once why it has to wait.

    Raises:
        ConfigurationError: no Redis answered in time.
    """
    until, said = time.monotonic() + JOIN_S, False
    while True:
        try:
            await attempt()
            return
        except (StateUnavailable, BaseExceptionGroup) as error:
            away = _away(error)
            if away is None or begun():
                raise
            reason = str(away)
            if time.monotonic() >= until:
                message = f"REDIS_URL: no Redis answered there within {JOIN_S:g} s ({reason}); start it, or unset it"
                raise ConfigurationError(message) from error
        if not said:
            said = True
            log.warning("redis.awaited", reason=reason, for_s=JOIN_S)
            waits(reason)
        await asyncio.sleep(RETRY_S)


def _away(error: BaseException) -> StateUnavailable | None:
    """That Redis is away, if it is nothing else, also from inside task groups."""
    if isinstance(error, StateUnavailable):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_away(inner) for inner in error.exceptions]
        return found[0] if all(found) else None
    return None
