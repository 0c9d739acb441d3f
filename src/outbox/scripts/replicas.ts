/** Replicas that come and go: who lives, and what the dead have left behind. */
import { NOW, TYPED } from '../../redis/scripts.js';
import { GROUP } from '../../state/format.js';
import { QUARANTINE } from '../../state/quarantine-scripts.js';
import { ALIVE, BURY, FOREIGN, READY, UNCLAIM } from './fragments.js';

/**
 * KEYS: replicas, endpoints, format. ARGV: replica, the format's version, the endpoints that its file
 * has. A sign of life; marks the format anew where a flush has taken it, and returns 1 then, or else 0.
 */
export const BEAT = `${NOW}${ALIVE}
alive(KEYS[1], ARGV[1])
local at = now()
local is_new = redis.call('SETNX', KEYS[3], ARGV[2])
for i = 3, #ARGV do redis.call('ZADD', KEYS[2], at, ARGV[i]) end
return is_new`;

/**
 * Lua: ends a claim; its delivery is ready again, with so many attempts more. An entry that no relay has written
 * is left to the next claim, which moves it to the quarantine. Needs NOW, READY, UNCLAIM.
 */
const HAND_BACK = `local function hand_back(stream, name, attempts)
  local entry = redis.call('XRANGE', stream, name, name)[1]
  if entry and is_ours(entry) and unclaim(stream, name) then
    local is_replay = attempts == 0 and replayed(entry)
    make_ready(stream, entry[2][2], entry[2][4] + attempts, due_of(entry), is_replay)
  else
    redis.call('XACK', stream, '${GROUP}', name)
  end
end
`;

/**
 * KEYS: ready. ARGV: replica, where to begin ('-': at the start), count, the entries that it knows it
 * holds. Of the claims that it is said to hold, examines `count`; those that it does not know become
 * ready again, and the attempt does not count. Returns where to continue; empty at the end.
 */
export const GIVE_BACK = `${NOW}${READY}${UNCLAIM}${HAND_BACK}
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local claims = redis.pcall('XPENDING', KEYS[1], '${GROUP}', ARGV[2], '+', ARGV[3], ARGV[1])
if claims.err then return '' end
for _, claim in ipairs(claims) do
  if not known[claim[1]] then hand_back(KEYS[1], claim[1], 0) end
end
return #claims < tonumber(ARGV[3]) and '' or '(' .. claims[#claims][1]`;

/**
 * KEYS: ready, replicas. ARGV: the name of a replica that is said to be dead, its last sign of life
 * (empty: there is none), count. What it had claimed becomes ready again, the attempt counted, unless
 * it has given another one. Returns how many.
 */
export const RECLAIM = `${NOW}${READY}${UNCLAIM}${HAND_BACK}
if (redis.call('ZSCORE', KEYS[2], ARGV[1]) or '') ~= ARGV[2] then return 0 end
local claims = redis.call('XPENDING', KEYS[1], '${GROUP}', '-', '+', ARGV[3], ARGV[1])
for _, claim in ipairs(claims) do hand_back(KEYS[1], claim[1], 1) end
if #claims < tonumber(ARGV[3]) then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${GROUP}', ARGV[1])
end
return #claims`;

/** KEYS: replicas. ARGV: the name of a dead replica, its last sign of life. Forgets it, unless it has given another. */
export const FORGET_REPLICA = `if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`;

/**
 * KEYS: endpoints, ready, deliveries, waiting, throttle, dead, dead-order, waits, quarantine. ARGV: endpoint, when a
 * running replica had it for the last time, reason, count. Buries what is left of an endpoint that no
 * running replica has, up to the count; an attempt that a dead replica had claimed counts. Returns how
 * many; forgets the endpoint once nothing is left.
 */
export const BURY_UNKNOWN = `${NOW}${TYPED}${QUARANTINE}${READY}${FOREIGN}${BURY}
expect_types('zset', 'stream', 'hash', 'zset', 'hash', 'hash', 'zset', 'hash')
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local count = tonumber(ARGV[4])
local buried = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', count)) do
  local claim = redis.pcall('XPENDING', KEYS[2], '${GROUP}', entry[1], entry[1], 1)
  redis.call('XDEL', KEYS[2], entry[1])
  if is_ours(entry) then
    bury(KEYS[3], KEYS[6], KEYS[7], entry[2][2], ARGV[3], entry[2][4] + #claim, 'null')
  else
    record_entry(KEYS[9], KEYS[2], entry)
  end
  buried = buried + 1
end
if buried < count then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, count - buried - 1)) do
    local attempts, id = retry_of(KEYS[9], KEYS[4], member, '')
    redis.call('ZREM', KEYS[4], member)
    redis.call('HDEL', KEYS[8], member)
    if id then bury(KEYS[3], KEYS[6], KEYS[7], id, ARGV[3], attempts, 'null') end
    buried = buried + 1
  end
end
if buried == 0 then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[8])
  if redis.call('ZCARD', KEYS[7]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
end
return buried`;
