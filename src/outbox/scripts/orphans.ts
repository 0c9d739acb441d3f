/** A script that restores missing index entries of deliveries and dead letters, and removes entries without either. */
import { NOW, TYPED } from '../../redis/scripts.js';
import { QUARANTINE } from '../../state/quarantine-scripts.js';
import { AHEAD_MS } from './dead-letters.js';
import { READY } from './fragments.js';

/** Ids compared with an index by one script: a few milliseconds' work for Redis. */
const LOOKED_AT_MAX = 500;

/**
 * KEYS: for each endpoint ready, deliveries, waiting, dead, dead-order, attempts. ARGV: the retention of dead letters in
 * milliseconds. Returns the places (from 0) of the endpoints for which RESTORE or EXPIRE_DEAD may have work, or that
 * have a key of another type. Changes nothing.
 */
export const UPKEEP_LOOK = `${NOW}
local at, found = now(), {}
local function number(reply) return type(reply) == 'number' and reply or nil end
for i = 1, #KEYS, 6 do
  local ready, deliveries = number(redis.pcall('XLEN', KEYS[i])), number(redis.pcall('HLEN', KEYS[i + 1]))
  local waiting, letters = number(redis.pcall('ZCARD', KEYS[i + 2])), number(redis.pcall('HLEN', KEYS[i + 3]))
  local order, attempts = number(redis.pcall('ZCARD', KEYS[i + 4])), number(redis.pcall('HLEN', KEYS[i + 5]))
  local is_typed = ready and deliveries and waiting and letters and order and attempts
  if not is_typed or deliveries > ready + waiting or letters ~= order or attempts > 0
    or redis.call('ZCOUNT', KEYS[i + 4], '-inf', at - ARGV[1]) > 0
    or redis.call('ZCOUNT', KEYS[i + 4], at + ${AHEAD_MS}, '+inf') > 0 then
    found[#found + 1] = (i - 1) / 6
  end
end
return found`;

/**
 * KEYS: ready, deliveries, waiting, dead, dead-order, attempts, quarantine. Every delivery has an entry in `ready` or
 * `waiting`, and every dead letter one in `dead-order`; another client may have deleted entries. Deliveries become
 * ready again, once the index is small enough for one script. Dead letters are dated now. Where there are too many
 * ids, a random sample is examined: later rounds find the others. Attempts of deliveries that are gone are deleted: a
 * relay of version 0.1 settles deliveries and leaves their attempts. Returns how many deliveries and dead letters
 * were restored.
 */
export const RESTORE = `${NOW}${TYPED}${QUARANTINE}${READY}
expect_types('stream', 'hash', 'zset', 'hash', 'zset', 'hash')
local deliveries, letters = 0, 0
local indexed = redis.call('XLEN', KEYS[1]) + redis.call('ZCARD', KEYS[3])
if indexed < ${LOOKED_AT_MAX} / 2 and redis.call('HLEN', KEYS[2]) > indexed then
  local known = {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do known[entry[2][2]] = true end
  for _, member in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    known[string.match(member, '^%d+:(.+)$') or member] = true
  end
  for _, id in ipairs(redis.call('HRANDFIELD', KEYS[2], ${LOOKED_AT_MAX})) do
    if not known[id] then
      make_ready(KEYS[1], id, 0)
      deliveries = deliveries + 1
    end
  end
end
local ahead = redis.call('HLEN', KEYS[4]) - redis.call('ZCARD', KEYS[5])
if ahead > 0 then
  for _, id in ipairs(redis.call('HRANDFIELD', KEYS[4], ${LOOKED_AT_MAX})) do
    letters = letters + redis.call('ZADD', KEYS[5], 'NX', now(), id)
  end
end
if ahead < 0 then
  for _, id in ipairs(redis.call('ZRANDMEMBER', KEYS[5], ${LOOKED_AT_MAX})) do
    if redis.call('HEXISTS', KEYS[4], id) == 0 then
      local score = redis.call('ZSCORE', KEYS[5], id)
      quarantine(KEYS[7], KEYS[5], 'member', id, score, 'there is no dead letter with this id')
      redis.call('ZREM', KEYS[5], id)
    end
  end
end
for _, id in ipairs(redis.call('HRANDFIELD', KEYS[6], ${LOOKED_AT_MAX})) do
  if redis.call('HEXISTS', KEYS[2], id) == 0 then redis.call('HDEL', KEYS[6], id) end
end
return { deliveries, letters }`;
