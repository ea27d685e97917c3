"""A fleet shares one SECRET_KEY ring; a worker with another one must not join it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from switchboard.errors import ConfigurationError

if TYPE_CHECKING:
    from switchboard.state.connect import State


def _mark(key: str) -> str:
    return hmac.new(key.encode(), b"switchboard fleet fingerprint", hashlib.sha256).hexdigest()[:16]


async def check_fingerprint(state: State, keys: Sequence[str]) -> None:
    """Refuse a worker none of whose keys the fleet knows; remember the ring otherwise.

    A rotation passes: rings that share a key belong together, and the newest ring is what is remembered.

    Raises:
        ConfigurationError: this Redis is used by a fleet whose SECRET_KEY ring shares no key with ours.
        StateUnavailable: Redis is away.
    """
    ours = [_mark(key) for key in keys]
    with state.guard():
        known: Any = await state.redis.get(state.keys.fingerprint())
        if known and not set(known.split(",")) & set(ours):
            raise ConfigurationError(
                "SECRET_KEY shares no key with the one the other workers on this Redis use; "
                "give every worker the same list (newest first), or use another database or REDIS_PREFIX"
            )
        await state.redis.set(state.keys.fingerprint(), ",".join(ours))
