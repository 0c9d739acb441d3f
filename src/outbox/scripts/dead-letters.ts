/** Scripts that replay, delete and expire dead letters. */
import { NOW, TYPED } from '../../redis/scripts.js';
import { READY } from './fragments.js';

/** A dead letter dated further ahead than this died before the clock was set back. */
export const AHEAD_MS = 1_000;

/**
 * KEYS: dead, dead-order, deliveries, ready, throttle, attempts. ARGV: id. 0: none. A crash leaves it dead or ready. A
 * relay of version 0.1 may have left attempts of its former life.
 */
export const REPLAY = `${NOW}${TYPED}${READY}
expect_types('hash', 'zset', 'hash', 'stream', 'hash', 'hash')
local letter = redis.call('HGET', KEYS[1], ARGV[1])
if not letter then return 0 end
local line_end = string.find(letter, '\\n', 1, true)
if not line_end then return 0 end
local packed = string.sub(letter, line_end + 1)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HSETNX', KEYS[3], ARGV[1], packed) == 1 then
  redis.call('HDEL', KEYS[6], ARGV[1])
  make_ready(KEYS[4], ARGV[1], 0, now(), 1)
end
redis.call('HDEL', KEYS[5], 'until', 'length')
return 1`;

/** KEYS: dead, dead-order. ARGV: id. Returns 0: no such dead letter. */
export const DROP = `redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])`;

/**
 * KEYS: dead, dead-order. ARGV: retention in milliseconds, count. Deletes up to `count` older dead letters, and returns
 * how many. A letter that is dated ahead died before the clock was set back: its retention starts now.
 */
export const EXPIRE_DEAD = `${NOW}
local at = now()
local ahead = redis.call(
  'ZRANGE', KEYS[2], '+inf', at + ${AHEAD_MS}, 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ahead) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZADD', KEYS[2], at, id)
end
local old = redis.call(
  'ZRANGE', KEYS[2], '-inf', at - ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
return #old`;
