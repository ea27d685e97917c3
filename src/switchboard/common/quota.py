"""Quotas counted in Redis for the whole fleet: GCRA, so that a quota refills steadily and has no edges.

One script for all limits of requests. Whoever uses it chooses the key, and how many permits to take at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TAKE: Final = """
-- KEYS count; ARGV as of `arguments`; answers permits granted, and the milliseconds to wait when they are too few
local interval, window, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, given = tonumber(ARGV[5]), ARGV[5] ~= '0'
if not given then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local free = math.floor((now + window - due) / interval + 0.000001)
if free < least then return {0, math.ceil(due + least * interval - now - window)} end
local granted = math.min(free, wanted)
if granted == 0 then return {0, 0} end
due = due + granted * interval
-- a clock of the caller's may go slower than the server's, by which a key expires
local lives = given and window or due - now + 1
redis.call('SET', KEYS[1], string.format('%.3f', due), 'PX', math.ceil(lives))
return {granted, 0}
"""


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` requests in any `window` seconds; a limit of 0 means no limit."""

    name: str
    limit: int
    window: float = 60.0

    @property
    def block(self) -> int:
        """Permits taken at once by a worker that keeps some."""
        return max(1, self.limit // 100)

    def arguments(self, wanted: int, least: int, now: float = 0.0) -> list[float]:
        """What the script takes: permits wanted, the fewest that are of use (all or none), Unix seconds or Redis's."""
        return [self.window * 1000 / self.limit, self.window * 1000, wanted, least, int(now * 1000)]
