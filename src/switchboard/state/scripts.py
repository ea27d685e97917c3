"""Guarded writes and fenced leases, as scripts.

Every write to a session checks in the same step that the session exists, so that nothing rises again after DELETE.
Every write of an exchange carries its epoch and is refused after a takeover, so that no request gets two endings.
All keys of one call share a hash tag. KEYS[1] is always the session's record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from redis.asyncio import Redis

from switchboard.state.topology import publishing

STREAM_BYTES: Final = 16 * 1024 * 1024
"""What one stream may hold, when nothing else is said."""

_ALIVE: Final = "if redis.call('EXISTS', KEYS[1]) == 0 then return {} end\n"

# Each frame carries in `b` how many bytes its stream has ever held, itself included. So what is held now is the
# difference of two entries, nobody keeps a counter, and whoever reads sees whether something is missing between two.
_BYTES: Final = """
local function field(entry, name)
  for i = 1, #entry[2], 2 do if entry[2][i] == name then return entry[2][i + 1] end end
end
local function held(last, frame)
  return #frame + (last and tonumber(field(last, 'b') or 0) or 0)
end
local function trim(events, total, newest, limit)
  if total <= limit then return end
  while true do
    local entries = redis.call('XRANGE', events, '-', '+', 'COUNT', 20)
    for _, entry in ipairs(entries) do
      local frame = field(entry, 'f')
      if entry[1] == newest or (frame and total - tonumber(field(entry, 'b') or 0) + #frame <= limit) then
        redis.call('XTRIM', events, 'MINID', entry[1])
        return
      end
    end
    redis.call('XTRIM', events, 'MINID', entries[#entries][1])
  end
end
"""

# KEYS record events · ARGV channel max frame [mark]
# Repeated after a lost connection, a frame with a mark is not stored twice. Several workers may append, so it is looked
# for among the last few.
_APPEND: Final = (
    _BYTES
    + _ALIVE
    + """
local mark = ARGV[4] or ''
for _, entry in ipairs(mark ~= '' and redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 16) or {}) do
  if field(entry, 'k') == mark then return {entry[1]} end
end
local total = held(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1], ARGV[3])
local id = redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], '*', 'f', ARGV[3], 'b', string.format('%.0f', total),
  'k', mark)
trim(KEYS[2], total, id, STREAM_BYTES)
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
redis.call('WAKE', ARGV[1], '1')
return {id}
"""
)

# KEYS record events lease · ARGV epoch lease_ms opening
# Repeated after a time-out it finds its own lease, and answers what it answered before.
_OPEN: Final = (
    _ALIVE
    + """
if not redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
  if redis.call('GET', KEYS[3]) == ARGV[1] and first[1] then return {'ok', first[1][1]} end
  return {'fenced'}
end
local id = redis.call('XADD', KEYS[2], '*', 'o', ARGV[3])
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
return {'ok', id}
"""
)

# KEYS record events lease · ARGV epoch lease_ms channel max frame final number [requests still to be answered]
# A reply's frames are numbered and written one at a time: repeated after a time-out, a frame is not stored twice.
# The stream lives as long as the session; `renew` keeps it, so only its first and its last frame see to that.
_EMIT: Final = (
    _BYTES
    + _ALIVE
    + """
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last and last[2][1] == 'n' and last[2][2] == ARGV[7] then return {'ok', last[1]} end
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[1] then return {'fenced'} end
local ttl = (ARGV[6] == '1' or not last) and redis.call('PTTL', KEYS[1])
if ARGV[6] == '1' then
  redis.call('SET', KEYS[3], 'done', 'PX', ttl)
elseif not holder then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
end
local total = held(last, ARGV[5])
local id = redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], '*', 'n', ARGV[7], 'f', ARGV[5], 'e', ARGV[6],
  'b', string.format('%.0f', total), 'p', ARGV[8] or '')
trim(KEYS[2], total, id, STREAM_BYTES)
if ttl then redis.call('PEXPIRE', KEYS[2], ttl) end
redis.call('WAKE', ARGV[3], '1')
return {'ok', id}
"""
)

# KEYS record events lease · ARGV channel frame...
_END_ORPHAN: Final = (
    _ALIVE
    + """
if redis.call('EXISTS', KEYS[3]) == 1 then return {'fenced'} end
local ttl = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[3], 'done', 'PX', ttl)
local id
for i = 2, #ARGV do
  id = redis.call('XADD', KEYS[2], '*', 'f', ARGV[i], 'e', i == #ARGV and '1' or '0')
end
redis.call('PEXPIRE', KEYS[2], ttl)
redis.call('WAKE', ARGV[1], '1')
return {'ok', id}
"""
)

# KEYS record lease [events] · ARGV epoch lease_ms record_ms
_RENEW: Final = (
    _ALIVE
    + """
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if KEYS[3] then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
local holder = redis.call('GET', KEYS[2])
if holder == ARGV[1] then redis.call('PEXPIRE', KEYS[2], ARGV[2]) return {'ok'} end
if not holder then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) return {'ok'} end
return {'fenced'}
"""
)

# KEYS record slot · ARGV channel answer
_FILL: Final = (
    _ALIVE
    + """
if redis.call('GET', KEYS[2]) ~= '' then return {'unasked'} end
redis.call('SET', KEYS[2], ARGV[2], 'KEEPTTL')
redis.call('WAKE', ARGV[1], '1')
return {'ok'}
"""
)

# KEYS record slot · ARGV ttl_ms value
_PLACE: Final = (
    _ALIVE
    + """
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[1])
return {'ok'}
"""
)

_NOW: Final = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
"""

# KEYS record cancelled · ARGV digest life_ms most channel
_CANCEL: Final = (
    _ALIVE
    + _NOW
    + """
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('WAKE', ARGV[4], '1')
return {'ok'}
"""
)

# KEYS record cancelled · ARGV life_ms digest... (which of them were cancelled lately)
_CANCELLED: Final = (
    _NOW
    + """
local found = {}
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[2], ARGV[i])
  if at and tonumber(at) > now - ARGV[1] then found[#found + 1] = ARGV[i] end
end
return found
"""
)

# KEYS record events · ARGV token channel
_ATTACH: Final = (
    _ALIVE
    + """
local since = '0-0'
if redis.call('HGET', KEYS[1], 'followed') then
  local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
  if last[1] then since = last[1][1] end
end
redis.call('HSET', KEYS[1], 'standalone', ARGV[1], 'followed', '1')
redis.call('WAKE', ARGV[2], '1')
return {since}
"""
)

# KEYS record · ARGV token
_DETACH: Final = (
    _ALIVE
    + """
if redis.call('HGET', KEYS[1], 'standalone') == ARGV[1] then redis.call('HDEL', KEYS[1], 'standalone') end
return {'ok'}
"""
)

# KEYS record subscriptions · ARGV add|drop uri channel most
_SUBSCRIBE: Final = (
    _ALIVE
    + """
if ARGV[1] == 'add' then
  if redis.call('SADD', KEYS[2], ARGV[2]) == 1 and redis.call('SCARD', KEYS[2]) > tonumber(ARGV[4]) then
    redis.call('SREM', KEYS[2], ARGV[2])
    return {'full'}
  end
  redis.call('HSET', KEYS[1], 'subscribed', '1')
  redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
else
  redis.call('SREM', KEYS[2], ARGV[2])
end
redis.call('WAKE', ARGV[3], 'subscriptions')
return {'ok'}
"""
)

# KEYS record · ARGV field value [field value ...]
_UPDATE: Final = (
    _ALIVE
    + """
redis.call('HSET', KEYS[1], unpack(ARGV))
return {'ok'}
"""
)

Verdict = Literal["ok", "fenced", "gone"]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a fenced write; `id` is the entry's id when it was made."""

    verdict: Verdict
    id: str = ""


def registered(redis: Redis, script: str) -> Any:
    """`script`, to be run by its hash; its `WAKE` becomes what the subscribers of that server hear."""
    return redis.register_script(script.replace("'WAKE'", f"'{publishing(redis)}'"))


class Scripts:
    """The scripts, loaded once per connection pool and run by their hash."""

    def __init__(self, redis: Redis, stream_bytes: int = STREAM_BYTES) -> None:
        self.stream_bytes = stream_bytes

        def bounded(script: str) -> Any:
            return registered(redis, script.replace("STREAM_BYTES", str(stream_bytes)))

        self.append = bounded(_APPEND)
        self.open = registered(redis, _OPEN)
        self.emit = bounded(_EMIT)
        self.end_orphan = registered(redis, _END_ORPHAN)
        self.renew = registered(redis, _RENEW)
        self.fill = registered(redis, _FILL)
        self.place = registered(redis, _PLACE)
        self.cancel = registered(redis, _CANCEL)
        self.cancelled = registered(redis, _CANCELLED)
        self.attach = registered(redis, _ATTACH)
        self.detach = registered(redis, _DETACH)
        self.subscribe = registered(redis, _SUBSCRIBE)
        self.update = registered(redis, _UPDATE)

    @staticmethod
    def written(reply: Any) -> Written:
        """Read the answer of `open`, `emit`, `end_orphan` or `renew`."""
        if not reply:
            return Written("gone")
        return Written(reply[0], reply[1] if len(reply) > 1 else "")
