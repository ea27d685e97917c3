"""Sealed records in Redis. Satisfies `Store`.

All records of a namespace stand in one slot of a Cluster: a hash for each owner, and a set of the owners. One that is
read is one HGET among the look-ups of its request. Replicas are waited for as for tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from switchboard.state import State
from switchboard.vault.records import MAX_RECORDS, Conflict, RecordKey, RecordRefused, SealedRecord

BATCH: Final = 200
"""Owners that Redis is asked about by one command."""

# What was changed from outside counts as a record: whoever reads it is told.
_LIVE: Final = """
local function live(text, now)
  if not text then return false end
  local expires = tonumber(string.match(text, '^[^|]*|(%d+)|'))
  return not expires or expires == 0 or expires > now
end
"""

# KEYS records owners · ARGV name record replacing now most owner
# `replacing` is `=` and a version (none: no record), or `*`.
_WRITE: Final = (
    _LIVE
    + """
local now = tonumber(ARGV[4])
local before = redis.call('HGET', KEYS[1], ARGV[1])
local version = live(before, now) and string.match(before, '^[^|]*') or ''
if ARGV[3] ~= '*' and ARGV[3] ~= '=' .. version then return 'conflict' end
if not before and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if not live(all[i + 1], now) then redis.call('HDEL', KEYS[1], all[i]) end
  end
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 'full' end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[6])
return 'ok'
"""
)

# KEYS records owners · ARGV name now owner
_DELETE: Final = (
    _LIVE
    + """
local was = live(redis.call('HGET', KEYS[1], ARGV[1]), tonumber(ARGV[2]))
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[3]) end
return was and 1 or 0
"""
)

# KEYS owners records… · ARGV now owner… (removes what has expired, and an owner with the last record)
_NAMES: Final = (
    _LIVE
    + """
local found = {}
for place = 2, #KEYS do
  local all, names = redis.call('HGETALL', KEYS[place]), {}
  for i = 1, #all, 2 do
    if live(all[i + 1], tonumber(ARGV[1])) then names[#names + 1] = all[i]
    else redis.call('HDEL', KEYS[place], all[i]) end
  end
  if #names == 0 then redis.call('SREM', KEYS[1], ARGV[place]) end
  found[place - 1] = names
end
return found
"""
)


class RedisStore:
    """The records in this fleet's shared state.

    Args:
        clock: Unix seconds; the fleet's.
    """

    def __init__(self, state: State, clock: Callable[[], float] | None = None) -> None:
        self._state = state
        self._redis: Any = state.redis
        self._clock = clock or state.clock
        self._write = self._redis.register_script(_WRITE)
        self._delete = self._redis.register_script(_DELETE)
        self._names = self._redis.register_script(_NAMES)

    async def read(self, key: RecordKey) -> SealedRecord | None:
        """See `Store`."""
        found = await self._state.lookups.ask("HGET", self._places(key.namespace, key.owner)[0], key.name)
        return None if found is None else SealedRecord.parsed(found, key)

    async def write(self, key: RecordKey, record: SealedRecord, *, replacing: str | None) -> None:
        """See `Store`."""
        places = self._places(key.namespace, key.owner)
        expected = "*" if replacing is None else f"={replacing}"
        with self._state.guard():
            # first, and never taken back: a namespace without records does no harm, one that is not listed would
            await self._redis.sadd(self._state.keys.vault_namespaces(), key.namespace)
            told: Any = await self._write(
                keys=places, args=[key.name, str(record), expected, self._now_ms(), MAX_RECORDS, key.owner]
            )
        if told == "conflict":
            raise Conflict(key)
        if told == "full":
            raise RecordRefused(f"{key.namespace} has {MAX_RECORDS} credentials of one owner already; delete one first")
        await self._state.replicas.hold(places[0])

    async def delete(self, key: RecordKey) -> bool:
        """See `Store`."""
        places = self._places(key.namespace, key.owner)
        with self._state.guard():
            removed: Any = await self._delete(keys=places, args=[key.name, self._now_ms(), key.owner])
        await self._state.replicas.hold(places[0])
        return bool(removed)

    async def keys(self, namespace: str | None = None, owner: str | None = None) -> list[RecordKey]:
        """See `Store`."""
        found: list[RecordKey] = []
        with self._state.guard():
            namespaces = (
                [namespace] if namespace else sorted(await self._redis.smembers(self._state.keys.vault_namespaces()))
            )
            for each in namespaces:
                owners = (
                    [owner]
                    if owner is not None
                    else sorted(await self._redis.smembers(self._state.keys.vault_owners(_tag(each))))
                )
                for start in range(0, len(owners), BATCH):
                    found += await self._listed(each, owners[start : start + BATCH])
        return found

    async def _listed(self, namespace: str, owners: list[str]) -> list[RecordKey]:
        now = self._now_ms()
        places = [self._places(namespace, owner) for owner in owners]
        keys = [places[0][1], *(records for records, _ in places)]
        found: list[list[str]] = await self._names(keys=keys, args=[now, *owners])
        return [
            RecordKey(namespace, name, owner)
            for owner, names in zip(owners, found, strict=True)
            for name in sorted(names)
        ]

    def _places(self, namespace: str, owner: str) -> list[str]:
        keys, tag = self._state.keys, _tag(namespace)
        return [keys.vault_records(tag, hashlib.sha256(owner.encode()).hexdigest()[:32]), keys.vault_owners(tag)]

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _tag(namespace: str) -> str:
    """A namespace as a hash tag: names of servers may have braces."""
    return quote(namespace, safe=":")
