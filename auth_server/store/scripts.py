"""What must happen at once, as Lua. Each script stays within one hash slot."""

from __future__ import annotations

REDEEM = """
-- KEYS family, access; ARGV code mac, access value, access ms, refresh mac, refresh value, family ms
if redis.call('HGET', KEYS[1], 'code') ~= ARGV[1] then return 'unknown' end
if redis.call('HGET', KEYS[1], 'used') then
  redis.call('DEL', KEYS[1])
  return 'replayed'
end
redis.call('HSET', KEYS[1], 'used', '1')
redis.call('HDEL', KEYS[1], 'code_sealed')
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'refresh', ARGV[4], 'refresh_sealed', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 'redeemed'
"""
"""A code is spent once; a second redemption ends the family."""

ROTATE = """
-- KEYS family, grace, access
-- ARGV presented mac, next mac, next value, successor, grace ms, access value, access ms, family ms
local current = redis.call('HGET', KEYS[1], 'refresh')
if not current then return {'unknown'} end
if current ~= ARGV[1] then
  local successor = redis.call('GET', KEYS[2])
  if successor then return {'graced', successor} end
  redis.call('DEL', KEYS[1])
  return {'replayed'}
end
redis.call('HSET', KEYS[1], 'refresh', ARGV[2], 'refresh_sealed', ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[8])
return {'rotated'}
"""
"""One rotation per refresh token; who comes too late by a moment gets the same successor."""

ISSUE = """
-- KEYS family, access; ARGV access value, access ms
redis.call('HSET', KEYS[1], 'lone', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""A family with one access token and nothing to refresh: machine clients."""

ATTACH = """
-- KEYS family, access; ARGV access value, access ms
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
"""One more access token of a family: exchanged tokens die with the one they were made from."""
