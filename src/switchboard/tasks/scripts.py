"""Guarded changes of a task, as scripts: an ended task stays ended, and only its own worker runs it.

KEYS are always the task, its open questions and its answers, which share a hash tag. Each change is published, so
that the worker that runs the task, and every stream that tells of it, looks again.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis

from switchboard.state.scripts import registered

_OPEN: Final = """
local seen = redis.call('HMGET', KEYS[1], 'status', 'worker')
if not seen[1] then return 'gone' end
if seen[1] ~= 'working' and seen[1] ~= 'input_required' then return 'ended' end
if ARGV[2] ~= '' and seen[2] ~= ARGV[2] then return 'fenced' end
"""

# A script, since Redis refuses even reads in a transaction while it is full.
_LOAD: Final = "return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}"

# ARGV channel worker updated life_ms · field value ... (the first write: refused if the id is taken)
_CREATE: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 'ok'
"""

# ARGV channel worker updated · field value ...
_CHANGE: Final = (
    _OPEN
    + """
redis.call('HSET', KEYS[1], 'updated', ARGV[3], unpack(ARGV, 4))
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'working' and status ~= 'input_required' then redis.call('DEL', KEYS[2], KEYS[3]) end
redis.call('WAKE', ARGV[1], '1')
return 'ok'
"""
)

# ARGV channel worker updated key question
_ASK: Final = (
    _OPEN
    + """
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
redis.call('HSET', KEYS[1], 'updated', ARGV[3], 'status', 'input_required')
redis.call('WAKE', ARGV[1], '1')
return 'ok'
"""
)

# ARGV channel worker updated · key answer ... (an empty answer: the question is withdrawn)
_ANSWER: Final = (
    _OPEN
    + """
local taken = 0
for i = 4, #ARGV, 2 do
  if redis.call('HDEL', KEYS[2], ARGV[i]) == 1 then
    taken = taken + 1
    if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
  end
end
if taken == 0 then return 'unasked' end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[1])) end
local status = redis.call('EXISTS', KEYS[2]) == 1 and 'input_required' or 'working'
redis.call('HSET', KEYS[1], 'updated', ARGV[3], 'status', status)
redis.call('WAKE', ARGV[1], '1')
return 'ok'
"""
)


class Scripts:
    """The scripts, loaded once and run by their hash."""

    def __init__(self, redis: Redis) -> None:
        self.load = registered(redis, _LOAD)
        self.create = registered(redis, _CREATE)
        self.change = registered(redis, _CHANGE)
        self.ask = registered(redis, _ASK)
        self.answer = registered(redis, _ANSWER)
