"""Links that backends gave to people, in Redis: any worker reads them through whoever gave them.

They belong to the principal that got them (issuer, subject, client), as sessions do, so they work in the next session
and for clients without one; without sign-in all callers are one principal. What is kept is bounded: the latest
`MOST_LINKS` of a principal, none longer than `LONGEST_LINK` characters, for a day after the last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import structlog

from switchboard.errors import StateUnavailable
from switchboard.identity import current
from switchboard.protocol.resource_uris import canonical
from switchboard.state import State
from switchboard.state.keys import LINKS_LIFE_MS

MOST_LINKS: Final = 500
MOST_AT_ONCE: Final = 100
LONGEST_LINK: Final = 2_048

# KEYS links order · ARGV most life_ms (field link)…
_NOTE: Final = """
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local number = tonumber(last[2] or '0')
for i = 3, #ARGV, 2 do
  number = number + 1
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], number, ARGV[i])
end
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[1])
if over > 0 then
  for _, field in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('HDEL', KEYS[1], field)
    redis.call('ZREM', KEYS[2], field)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""

log = structlog.get_logger("switchboard.sessions")


class GivenLinks:
    """The links of every principal. Satisfies `switchboard.gateway.links.Links`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._note = state.redis.register_script(_NOTE)

    async def note(self, provider: str, uris: Sequence[str]) -> None:
        """Remember who gave them. While Redis is away the result goes out nevertheless; the log says what is lost."""
        fitting = [uri for uri in uris if len(uri) <= LONGEST_LINK][:MOST_AT_ONCE]
        if len(fitting) < len(uris):
            log.info("links.too_many", provider=provider, given=len(uris), kept=len(fitting))
        if not fitting:
            return
        pairs = [part for uri in fitting for part in (_field(uri), json.dumps([provider, uri]))]
        try:
            with self._state.guard():
                await self._note(keys=self._keys(), args=[MOST_LINKS, LINKS_LIFE_MS, *pairs])
        except StateUnavailable as error:
            log.warning(error.event, error=str(error), lost="links that a result gave")

    async def giver(self, uri: str) -> tuple[str, str] | None:
        """The provider that gave this URI last, and the form in which it did.

        Raises:
            StateUnavailable: Redis is away.
        """
        with self._state.guard():
            stored: Any = await self._state.redis.hget(self._keys()[0], _field(uri))
        if stored is None:
            return None
        provider, own = json.loads(stored)
        return provider, own

    def _keys(self) -> list[str]:
        digest = hashlib.sha256(current().principal.owner.encode()).hexdigest()[:32]
        return [self._state.keys.links(digest), self._state.keys.links_order(digest)]


def _field(uri: str) -> str:
    return hashlib.sha256(canonical(uri).encode(errors="surrogatepass")).hexdigest()[:32]
