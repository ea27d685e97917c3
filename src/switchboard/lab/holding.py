"""Who has the root of the lab's own origin: one scenario of one run at a time, in Redis, for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from switchboard.state import State

HELD_S: Final = 120
"""How long it is held after it was last used; a person reads a page of consent in that."""

QUIET_S: Final = 10
"""After so long without use another scenario of the same run may have it."""

# KEYS record · ARGV run scenario held_ms quiet_ms
_HOLD: Final = """
local held = redis.call('HMGET', KEYS[1], 'run', 'scenario')
local left = redis.call('PTTL', KEYS[1])
if held[1] and (held[1] ~= ARGV[1] or (held[2] ~= ARGV[2] and left > ARGV[3] - ARGV[4])) then
    return {held[1], held[2], left}
end
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'scenario', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {}
"""

# KEYS record · ARGV held_ms
_USE: Final = """
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HMGET', KEYS[1], 'run', 'scenario')
"""

# KEYS record · ARGV run scenario
_RELEASE: Final = """
local held = redis.call('HMGET', KEYS[1], 'run', 'scenario')
if held[1] == ARGV[1] and held[2] == ARGV[2] then redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, slots=True)
class Held:
    """Another scenario that has the origin, and for how many seconds it has it yet if nobody uses it."""

    run: str
    scenario: str
    seconds: int


class Holding:
    """The record of who has it. Every method may raise `StateUnavailable`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._key = state.keys.lab_origin()
        self._hold = state.redis.register_script(_HOLD)
        self._use = state.redis.register_script(_USE)
        self._release = state.redis.register_script(_RELEASE)

    async def hold(self, run: str, scenario: str) -> Held | None:
        """Take it, or hold it for longer; who else has it if it is not free."""
        arguments: list[str | int] = [run, scenario, HELD_S * 1000, QUIET_S * 1000]
        with self._state.guard():
            found: Any = await self._hold(keys=[self._key], args=arguments)
        return Held(found[0], found[1], -(-int(found[2]) // 1000)) if found else None

    async def used(self) -> tuple[str, str] | None:
        """The run and scenario that have it, which hold it for longer by that; `None` if none does."""
        with self._state.guard():
            found: Any = await self._use(keys=[self._key], args=[HELD_S * 1000])
        return (found[0], found[1]) if found[0] else None

    async def release(self, run: str, scenario: str) -> None:
        """Give it up, if this scenario of this run has it."""
        with self._state.guard():
            await self._release(keys=[self._key], args=[run, scenario])
