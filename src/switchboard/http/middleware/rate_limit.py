"""Rate limits, counted in Redis for the whole fleet by `common.quota`.

A worker takes permits in blocks of a hundredth of the quota and spends them locally: a call costs no round trip. What
it has not spent when a block grows old is lost, which only makes the limit a little stricter. A refusal is remembered
until it ends. While Redis is away nothing is refused: a limit protects the service, it does not guard a secret.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.networks import bucket_of
from switchboard.common.quota import TAKE, Quota
from switchboard.errors import StateUnavailable
from switchboard.http.middleware.bearer import digest_of
from switchboard.http.responses import refuse
from switchboard.identity import Principal

log = structlog.get_logger(__name__)

_REMEMBERED = 10_000
"""Keys a worker holds permits for; the one used longest ago is forgotten first."""


@dataclass(slots=True)
class _Held:
    """Permits of one key."""

    permits: int = 0
    until: float = 0.0
    """When they go stale (monotonic seconds)."""

    refused_until: float = 0.0
    """Until when there is not one to be had."""

    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while more are drawn: what runs at once draws one block, not one each."""


Run = Callable[[AsyncScript, Sequence[str], Sequence[float]], Awaitable[Any]]
"""`(script, keys, arguments)` → what it answers: `Lookups.run`, or `by_client`."""


def by_client(script: AsyncScript, keys: Sequence[str], arguments: Sequence[float]) -> Awaitable[Any]:
    """Have redis-py run it, over a connection of its pool."""
    answer: Awaitable[Any] = script(keys=list(keys), args=list(arguments))
    return answer


class Permits:
    """Permits of one worker, drawn from the fleet's.

    Args:
        redis: which knows the script.
        prefix: of its keys.
        clock: seconds that only go on.
        run: runs the script.
    """

    def __init__(
        self, redis: Redis, *, prefix: str = "", clock: Callable[[], float] = time.monotonic, run: Run = by_client
    ) -> None:
        self._take = redis.register_script(TAKE)
        self._run = run
        self._prefix = prefix
        self._clock = clock
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()

    def spend_held(self, quota: Quota, key: str) -> bool:
        """Spend a permit that this worker holds already; whether it had one."""
        if quota.limit <= 0:
            return True
        held = self._held.get((quota.name, key))
        if held is None or held.permits < 1 or held.until <= self._clock():
            return False
        held.permits -= 1
        return True

    async def spend(self, quota: Quota, key: str, count: int = 1) -> float | None:
        """Spend `count` permits, all or none; the seconds to wait when there are too few."""
        if count <= 0 or quota.limit <= 0:
            return None
        held = self._of(quota, key)
        async with held.drawing:
            if held.until <= self._clock():
                held.permits = 0
            while held.permits < count:  # of those held before, some may be spent while the others are drawn
                if (wait := await self._draw(quota, key, held, count)) is not None:
                    return max(wait, 0.001)
            held.permits -= count
        return None

    def _of(self, quota: Quota, key: str) -> _Held:
        """What is held for a key: as the one used last, so that it is forgotten last."""
        held = self._held.setdefault((quota.name, key), _Held())
        self._held.move_to_end((quota.name, key))
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)
        return held

    async def _draw(self, quota: Quota, key: str, held: _Held, count: int) -> float | None:
        """Have `held` hold `count` permits at least; the seconds to wait when it cannot."""
        if count == 1 and held.refused_until > self._clock():
            return held.refused_until - self._clock()
        least = count - held.permits
        try:
            name = f"{self._prefix}rate:{quota.name}:{key}"
            granted, wait = await self._run(self._take, (name,), quota.arguments(max(quota.block, least), least))
        except (RedisError, StateUnavailable) as error:
            log.warning("rate_limit.skipped", reason=type(error).__name__)
            granted, wait = max(quota.block, least), 0
        if not int(granted):
            if count == 1:  # fewer than `count` may be had sooner: only of one is it known
                held.refused_until = self._clock() + int(wait) / 1000
            return int(wait) / 1000
        held.permits += int(granted)
        held.until = self._clock() + quota.window / 10
        return None


def by_address(scope: Scope) -> str | None:
    """One bucket for each client address, by `bucket_of`; put it behind `TrustedProxies`."""
    return bucket_of(scope["client"][0]) if scope.get("client") else None


def by_principal(scope: Scope) -> str | None:
    """One bucket for each principal; put it behind `Bearer`."""
    principal = scope.get("state", {}).get("principal")
    return digest_of(principal) if isinstance(principal, Principal) else None


@dataclass(eq=False)
class RateLimited(Exception):
    """A bucket holds too little for what was asked."""

    quota: str
    wait: float
    """Seconds until it holds enough; infinite when it never does."""

    @property
    def message(self) -> str:
        """What to tell the client."""
        if math.isinf(self.wait):
            return "The batch counts as more requests than may be sent at once; send smaller ones"
        return f"Too many requests; try again in {math.ceil(self.wait)} s"


@dataclass(frozen=True, slots=True)
class Counting:
    """One bucket that a request counts in."""

    permits: Permits
    quota: Quota
    key: str

    def spend_held(self) -> bool:
        """Spend a permit that this worker holds already; whether it had one."""
        return self.permits.spend_held(self.quota, self.key)

    async def spend(self, count: int) -> None:
        """Spend permits.

        Raises:
            RateLimited: there are too few.
        """
        if (wait := await self.permits.spend(self.quota, self.key, count)) is not None:
            raise RateLimited(self.quota.name, wait)

    async def spend_batch(self, count: int) -> None:
        """Spend what a batch counts for beyond the request that brought it.

        Raises:
            RateLimited: as `spend`.
        """
        if 0 < self.quota.limit < count:
            raise RateLimited(self.quota.name, math.inf)
        await self.spend(count - 1)


COUNTED = "counted"
"""In the state of a scope: the buckets that its request was counted in."""


async def spend_message(scope: Scope) -> None:
    """Count a message that came on a connection which was counted when it was opened.

    Raises:
        RateLimited: the client has sent too many.
    """
    for counting in scope.get("state", {}).get(COUNTED, ()):
        await counting.spend(1)


async def spend_batch(scope: Scope, count: int) -> None:
    """Count the `count` messages of one request as if each had come alone.

    Raises:
        RateLimited: the client may not send as many now.
    """
    for counting in scope.get("state", {}).get(COUNTED, ()):
        await counting.spend_batch(count)


class RateLimit:
    """Answers 429 with `Retry-After` when the bucket that `key` names is empty; no key, no limit.

    What holds more than one message counts the others itself, by `spend_message` and `spend_batch`.
    """

    def __init__(self, app: ASGIApp, permits: Permits, quota: Quota, key: Callable[[Scope], str | None]) -> None:
        self.app = app
        self._permits = permits
        self._quota = quota
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope) if scope["type"] != "lifespan" else None
        if key is not None:
            counting = Counting(self._permits, self._quota, key)
            try:
                await counting.spend(1)
            except RateLimited as limited:
                await answer(limited, scope, send)
                return
            scope.setdefault("state", {}).setdefault(COUNTED, []).append(counting)
        await self.app(scope, receive, send)


async def answer(limited: RateLimited, scope: Scope, send: Send) -> None:
    """429, with the seconds after which to come back, if that would help."""
    headers = []
    if not math.isinf(limited.wait):
        headers.append((b"retry-after", str(max(1, math.ceil(limited.wait))).encode()))
    log.info("rate_limit.exceeded", quota=limited.quota, wait_s=limited.wait)
    await refuse(scope, send, 429, limited.message, headers=headers)
