/**
 * The scripts of the index of deadlines in Redis. Scores are deadlines. Except in FORGET, the first key is the lease,
 * and the first argument is its token: only the holder writes the index.
 */
import { TYPED, WATCHING } from '../redis/scripts.js';
import { IS_DEADLINE, QUARANTINE } from '../state/quarantine-scripts.js';

/**
 * KEYS: lease, tracked, overdue. ARGV: token, number of volatile keys, number of persistent keys; for each volatile key
 * its deadline and the key; each persistent key; for each missing key the time of its reading and the key.
 */
const PUT = `${WATCHING}${TYPED}
expect_types('hash', 'zset', 'zset')
local count = tonumber(ARGV[2])
local first_persistent = 4 + 2 * count
local first_missing = first_persistent + tonumber(ARGV[3])
local back = {}
if count > 0 then
  redis.call('ZADD', KEYS[2], unpack(ARGV, 4, first_persistent - 1))
  for i = 5, first_persistent - 1, 2 do back[#back + 1] = ARGV[i] end
end
if first_missing > first_persistent then
  redis.call('ZREM', KEYS[2], unpack(ARGV, first_persistent, first_missing - 1))
  for i = first_persistent, first_missing - 1 do back[#back + 1] = ARGV[i] end
end
if #back > 0 and redis.call('ZCARD', KEYS[3]) > 0 then
  redis.call('ZREM', KEYS[3], unpack(back))
end
for i = first_missing, #ARGV, 2 do
  for index = 2, 3 do
    local deadline = redis.call('ZSCORE', KEYS[index], ARGV[i + 1])
    if deadline and tonumber(deadline) > tonumber(ARGV[i]) then
      redis.call('ZREM', KEYS[index], ARGV[i + 1])
    end
  end
end
return redis.status_reply('OK')`;

/**
 * KEYS: lease; for each database tracked and overdue. ARGV: token; for each key the place of its database (from 1), and
 * the key.
 */
const REMOVE = `${WATCHING}
for i = 2, #ARGV, 2 do
  local at = tonumber(ARGV[i]) * 2
  redis.call('ZREM', KEYS[at], ARGV[i + 1])
  redis.call('ZREM', KEYS[at + 1], ARGV[i + 1])
end
return redis.status_reply('OK')`;

/**
 * KEYS: lease, tracked, overdue, quarantine. ARGV: token, until, count. Returns two lists: key, deadline, key,
 * deadline…; and the keys whose entries were not deadlines, and were moved to the quarantine.
 */
const TAKE = `${WATCHING}${TYPED}${QUARANTINE}${IS_DEADLINE}
expect_types('hash', 'zset', 'zset')
local due = redis.call(
  'ZRANGE', KEYS[2], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local keys, entries, taken, others = {}, {}, {}, {}
for i = 1, #due, 2 do
  keys[#keys + 1] = due[i]
  if is_deadline(due[i + 1]) then
    entries[#entries + 1], entries[#entries + 2] = due[i + 1], due[i]
    taken[#taken + 1], taken[#taken + 2] = due[i], due[i + 1]
  else
    quarantine(KEYS[4], KEYS[2], 'member', due[i], due[i + 1], 'not a deadline')
    others[#others + 1] = due[i]
  end
end
if #keys > 0 then redis.call('ZREM', KEYS[2], unpack(keys)) end
if #entries > 0 then redis.call('ZADD', KEYS[3], unpack(entries)) end
return { taken, others }`;

/**
 * KEYS: lease, settled, claimed. ARGV: token, the new watermark. The old watermark is deleted first: Redis allows that
 * at maxmemory. `claimed` is deleted as well: all that relays of version 0.1 captured precedes the mark.
 */
const ADVANCE_WATERMARK = `${WATCHING}
redis.call('DEL', KEYS[2])
redis.call('UNLINK', KEYS[3])
return redis.call('SET', KEYS[2], ARGV[2])`;

/** KEYS: lease, tracked, overdue, unrouted. ARGV: token; each key. */
const SET_ASIDE = `${WATCHING}${TYPED}
expect_types('hash', 'zset', 'zset', 'zset')
for i = 2, #ARGV do
  local deadline = redis.call('ZSCORE', KEYS[3], ARGV[i]) or redis.call('ZSCORE', KEYS[2], ARGV[i])
  if deadline then
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZADD', KEYS[4], deadline, ARGV[i])
  end
end
return redis.status_reply('OK')`;

/** KEYS: lease, tracked, overdue, unrouted. ARGV: token; each key. A key with another entry keeps that one. */
const BRING_BACK = `${WATCHING}${TYPED}
expect_types('hash', 'zset', 'zset', 'zset')
for i = 2, #ARGV do
  local deadline = redis.call('ZSCORE', KEYS[4], ARGV[i])
  redis.call('ZREM', KEYS[4], ARGV[i])
  if deadline and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('ZADD', KEYS[3], 'NX', deadline, ARGV[i])
  end
end
return redis.status_reply('OK')`;

/** KEYS: lease, unrouted. ARGV: token, until, count. Returns the number of deleted entries. */
const FORGET_ASIDE = `${WATCHING}
local old = redis.call('ZRANGE', KEYS[2], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
if #old > 0 then redis.call('ZREM', KEYS[2], unpack(old)) end
return #old`;

/** KEYS: tracked, overdue, unrouted. Returns the number of entries of the first two. */
const FORGET = `local count = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
return count`;

export const DEADLINE_SCRIPTS = {
  deadlinesPut: PUT,
  deadlinesRemove: REMOVE,
  deadlinesTake: TAKE,
  deadlinesAdvanceWatermark: ADVANCE_WATERMARK,
  deadlinesSetAside: SET_ASIDE,
  deadlinesBringBack: BRING_BACK,
  deadlinesForgetAside: FORGET_ASIDE,
  deadlinesForget: FORGET,
} as const;
