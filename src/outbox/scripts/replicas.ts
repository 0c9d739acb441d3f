/** Replicas that come and go: who lives, and what the dead have left behind. */
import { DEAD_AFTER_MS, GROUP } from '../../state/format.js';
import { NOW } from '../../state/scripts.js';
import { ALIVE, BURY, READY, UNCLAIM } from './fragments.js';

/** Replicas that were last heard of so long ago are not even listed any more. */
const LISTED_MS = 3_600_000;

/**
 * KEYS: replicas, endpoints, format. ARGV: replica, the format's version, the endpoints that its file
 * has. A sign of life; marks the format anew where a flush has taken it, and returns 1 then, or else 0.
 */
export const BEAT = `${NOW}${ALIVE}
alive(KEYS[1], ARGV[1])
local at = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at - ${LISTED_MS})
local is_new = redis.call('SETNX', KEYS[3], ARGV[2])
for i = 3, #ARGV do redis.call('ZADD', KEYS[2], at, ARGV[i]) end
return is_new`;

/**
 * KEYS: ready. ARGV: replica, the entries that it knows it holds. What else it is said to hold is
 * ready again, the attempt not counted, since it was not made. Returns how many.
 */
export const GIVE_BACK = `${READY}${UNCLAIM}
local known = {}
for i = 2, #ARGV do known[ARGV[i]] = true end
local claims = redis.pcall('XPENDING', KEYS[1], '${GROUP}', '-', '+', 10000, ARGV[1])
if claims.err then return 0 end
local count = 0
for _, claim in ipairs(claims) do
  local entry = not known[claim[1]] and redis.call('XRANGE', KEYS[1], claim[1], claim[1])[1]
  if entry and unclaim(KEYS[1], claim[1]) then
    make_ready(KEYS[1], entry[2][2], entry[2][4], due_of(entry), replayed(entry))
    count = count + 1
  end
end
return count`;

/**
 * KEYS: ready, replicas. ARGV: the name of a replica that is said to be dead, count. What it had
 * claimed becomes ready again, the attempt counted, unless it lives after all. Returns how many.
 */
export const RECLAIM = `${NOW}${READY}${UNCLAIM}
local heard = redis.call('ZSCORE', KEYS[2], ARGV[1])
if heard and now() - heard < ${DEAD_AFTER_MS} then return 0 end
local claims = redis.call('XPENDING', KEYS[1], '${GROUP}', '-', '+', ARGV[2], ARGV[1])
for _, claim in ipairs(claims) do
  local entry = redis.call('XRANGE', KEYS[1], claim[1], claim[1])[1]
  if entry and unclaim(KEYS[1], claim[1]) then
    make_ready(KEYS[1], entry[2][2], entry[2][4] + 1, due_of(entry))
  else
    redis.call('XACK', KEYS[1], '${GROUP}', claim[1])
  end
end
if #claims < tonumber(ARGV[2]) then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${GROUP}', ARGV[1])
end
return #claims`;

/**
 * KEYS: endpoints. ARGV: milliseconds. Returns the endpoints that no running replica has had for so
 * long.
 */
export const UNKNOWN = `${NOW}
return redis.call('ZRANGE', KEYS[1], '-inf', now() - ARGV[1], 'BYSCORE')`;

/**
 * KEYS: endpoints, ready, deliveries, waiting, breaker, dead, dead-order. ARGV: endpoint, the
 * milliseconds after which it is unknown, reason, count. Buries what is left of an endpoint that no
 * running replica has, up to the count; an attempt that a dead replica had claimed counts. Returns how
 * many; forgets the endpoint once nothing is left.
 */
export const BURY_UNKNOWN = `${NOW}${BURY}
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not seen or now() - seen < tonumber(ARGV[2]) then return 0 end
local count = tonumber(ARGV[4])
local buried = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', count)) do
  local claim = redis.pcall('XPENDING', KEYS[2], '${GROUP}', entry[1], entry[1], 1)
  redis.call('XDEL', KEYS[2], entry[1])
  bury(KEYS[3], KEYS[6], KEYS[7], entry[2][2], ARGV[3], entry[2][4] + #claim, 'null')
  buried = buried + 1
end
if buried < count then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, count - buried - 1)) do
    local attempts, id = string.match(member, '^(%d+):(.*)$')
    redis.call('ZREM', KEYS[4], member)
    bury(KEYS[3], KEYS[6], KEYS[7], id, ARGV[3], attempts, 'null')
    buried = buried + 1
  end
end
if buried == 0 then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  if redis.call('ZCARD', KEYS[7]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
end
return buried`;
