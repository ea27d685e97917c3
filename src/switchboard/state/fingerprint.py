"""A fleet shares one SECRET_KEY ring; a worker with another one must not join it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from switchboard.errors import ConfigurationError

if TYPE_CHECKING:
    from switchboard.state.connect import State

FINGERPRINT_POLL_S: Final = 0.2


def _mark(key: str) -> str:
    return hmac.new(key.encode(), b"switchboard fleet fingerprint", hashlib.sha256).hexdigest()[:16]


def written(keys: Sequence[str]) -> str:
    """A ring as Redis keeps it."""
    return ",".join(map(_mark, keys))


async def check_fingerprint(state: State, keys: Sequence[str]) -> None:
    """Refuse a worker none of whose keys the fleet knows; remember the ring otherwise.

    A rotation passes: rings that share a key belong together, and the newest ring is what is remembered.

    Raises:
        ConfigurationError: this Redis is used by a fleet whose SECRET_KEY ring shares no key with ours.
        StateUnavailable: Redis cannot be reached.
    """
    with state.guard():
        _compare(await _known(state), keys)
        await state.redis.set(state.keys.fingerprint(), written(keys))


async def refuse_strangers(state: State, keys: Sequence[str]) -> None:
    """The same for one who only looks: nothing is remembered, and nobody waited for.

    Raises:
        ConfigurationError: as above.
    """
    known: Any = await state.redis.get(state.keys.fingerprint())
    _compare(str(known) if known else None, keys)


def _compare(known: str | None, keys: Sequence[str]) -> None:
    if known and not set(known.split(",")) & set(written(keys).split(",")):
        raise ConfigurationError(
            "SECRET_KEY shares no key with the one the other workers on this Redis use; "
            "give every worker the same list (newest first), or use another database or REDIS_PREFIX"
        )


async def _known(state: State) -> str | None:
    """What is remembered. A Redis that was emptied under a fleet is told again, with the workers' next heartbeats."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 2 * state.timing.renew_s
    while True:
        known: Any = await state.redis.get(state.keys.fingerprint())
        if known or loop.time() >= until or not await _others(state):
            return str(known) if known else None
        await asyncio.sleep(FINGERPRINT_POLL_S)


async def _others(state: State) -> bool:
    """Whether workers of a fleet listen on this Redis: subscriptions outlive what it holds."""
    try:
        return await state.pubsub.listeners(state.keys.bus()) > 0
    except ResponseError:  # an ACL forbids to ask
        return False
