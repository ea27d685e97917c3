"""A fenced lease: one holder in the fleet of what must be done by one worker at a time.

Whoever could not renew for the length of a lease has lost it, and knows so by its own clock: by then another may have
it. The epoch is the holder's proof; scripts that write on the strength of a lease compare it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from switchboard.state.connect import State

# KEYS lease · ARGV epoch lease_ms
_HOLD: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if holder then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
"""

# KEYS lease · ARGV epoch
RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""Gives a lease back, unless somebody else has it by now."""


class Lease:
    """This worker's claim to one lease. Every method may raise `StateUnavailable`.

    Args:
        holder: who claims, for people who look.
        clock: seconds; of this worker alone.
    """

    def __init__(self, state: State, key: str, holder: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = key
        self.epoch = f"{holder}:{secrets.token_hex(6)}"
        self._state = state
        self._clock = clock
        self.timing = state.timing
        self._renewed = float("-inf")
        self._hold = state.redis.register_script(_HOLD)
        self._release = state.redis.register_script(RELEASE)

    @property
    def held(self) -> bool:
        """Whether nobody else can have it yet."""
        return self._clock() - self._renewed < self.timing.lease_s

    async def claim(self) -> bool:
        """Take it if it is free, renew it if it is ours; whether it is ours now."""
        before = self._clock()
        with self._state.guard():
            ours: Any = await self._hold(keys=[self.key], args=[self.epoch, self.timing.lease_ms])
        self._renewed = before if ours else float("-inf")
        return bool(ours)

    async def release(self) -> None:
        """Give it back."""
        self._renewed = float("-inf")
        with self._state.guard():
            await self._release(keys=[self.key], args=[self.epoch])
