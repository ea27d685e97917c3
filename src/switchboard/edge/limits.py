"""Rate limits, counted in Redis for the whole fleet: GCRA, so that a quota refills steadily and has no edges.

A worker takes permits in blocks of a hundredth of the quota and spends them locally: a call costs no round trip. What
it has not spent when a block grows old is lost, which only makes the limit a little stricter. A refusal is remembered
until it ends. While Redis is away nothing is refused: a limit protects the service, it does not guard a secret.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.edge.bearer import digest_of
from switchboard.edge.replies import refuse
from switchboard.identity import Principal
from switchboard.networks import bucket_of

log = structlog.get_logger(__name__)

_REMEMBERED = 10_000
"""Keys a worker holds permits for; the one used longest ago is forgotten first."""

_TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local interval, window, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local free = math.floor((now + window - due) / interval + 0.000001)
if free < 1 then return {0, math.ceil(due + interval - now - window)} end
local granted = math.min(free, wanted)
due = due + granted * interval
redis.call('SET', KEYS[1], string.format('%.3f', due), 'PX', math.ceil(due - now) + 1)
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
        """Permits taken at once."""
        return max(1, self.limit // 100)


@dataclass(slots=True)
class _Held:
    permits: int
    until: float
    """When the permits, or the refusal if there are none, go stale (monotonic seconds)."""


class Permits:
    """Permits of one worker, drawn from the fleet's."""

    def __init__(self, redis: Redis, *, prefix: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._take = redis.register_script(_TAKE)
        self._prefix = prefix
        self._clock = clock
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()

    async def spend(self, quota: Quota, key: str) -> float | None:
        """Spend one permit; the seconds to wait when there is none."""
        if quota.limit <= 0:
            return None
        held = self._held.get((quota.name, key))
        if held is None or held.until <= self._clock():
            held = await self._draw(quota, key)
        if held.permits == 0:
            return max(held.until - self._clock(), 0.001)
        held.permits -= 1
        if held.permits == 0:
            self._held.pop((quota.name, key), None)
        return None

    async def _draw(self, quota: Quota, key: str) -> _Held:
        interval = quota.window * 1000 / quota.limit
        try:
            granted, wait = await self._take(
                keys=[f"{self._prefix}rate:{quota.name}:{key}"], args=[interval, quota.window * 1000, quota.block]
            )
        except RedisError as error:
            log.warning("rate limits are not counted", reason=type(error).__name__)
            granted, wait = quota.block, 0
        held = _Held(int(granted), self._clock() + (quota.window / 10 if int(granted) else int(wait) / 1000))
        self._held[quota.name, key] = held
        self._held.move_to_end((quota.name, key))
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)
        return held


def by_address(scope: Scope) -> str | None:
    """One bucket for each client address, by `bucket_of`; put it behind `TrustedProxies`."""
    return bucket_of(scope["client"][0]) if scope.get("client") else None


def by_principal(scope: Scope) -> str | None:
    """One bucket for each principal; put it behind `Bearer`."""
    principal = scope.get("state", {}).get("principal")
    return digest_of(principal) if isinstance(principal, Principal) else None


class RateLimit:
    """Answers 429 with `Retry-After` when the bucket that `key` names is empty; no key, no limit."""

    def __init__(self, app: ASGIApp, permits: Permits, quota: Quota, key: Callable[[Scope], str | None]) -> None:
        self.app = app
        self._permits = permits
        self._quota = quota
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope) if scope["type"] != "lifespan" else None
        wait = None if key is None else await self._permits.spend(self._quota, key)
        if wait is None:
            await self.app(scope, receive, send)
            return
        seconds = str(max(1, math.ceil(wait))).encode()
        log.info("rate limited", quota=self._quota.name, retry_after=int(seconds))
        await refuse(scope, send, 429, "Too many requests; try again later", headers=((b"retry-after", seconds),))
