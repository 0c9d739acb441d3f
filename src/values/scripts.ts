/**
 * Scripts for kept values: a hash of the values, and a sorted set of the deadlines that were read with them. A crash
 * between two scripts costs at most freshness, or leaves a value to PRUNE.
 */
import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { WATCHING } from '../redis/scripts.js';
import { QUARANTINE } from '../state/quarantine-scripts.js';

/** KEYS: lease, values, deadlines. ARGV: token; for each key its deadline, the key, the value. */
const KEEP = `${WATCHING}
for i = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i + 2])
  redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1])
end
return redis.status_reply('OK')`;

/** KEYS: lease, values, deadlines. ARGV: token; for each key its deadline ('': any), and the key. */
const FORGET = `${WATCHING}
for i = 2, #ARGV, 2 do
  local wanted = ARGV[i]
  local deadline = redis.call('ZSCORE', KEYS[3], ARGV[i + 1])
  if deadline and (wanted == '' or tonumber(wanted) == tonumber(deadline)) then
    redis.call('HDEL', KEYS[2], ARGV[i + 1])
    redis.call('ZREM', KEYS[3], ARGV[i + 1])
  end
end
return redis.status_reply('OK')`;

/** Entries that one script moves to the quarantine because they are not deadlines. */
const MOVED_MAX = 100;

/**
 * KEYS: lease, values, deadlines; tracked and overdue of the index; quarantine. ARGV: token, until, the first and the
 * last rank to examine. Deletes values whose keys have left the index. Returns how many examined entries are still
 * needed, and how many were examined. Entries later than any deadline would never be pruned: they go to the quarantine.
 */
const PRUNE = `${WATCHING}${QUARANTINE}
local late = redis.call(
  'ZRANGE', KEYS[3], '(${DEADLINE_MS_MAX}', '+inf', 'BYSCORE', 'LIMIT', 0, ${MOVED_MAX}, 'WITHSCORES')
for i = 1, #late, 2 do
  quarantine(KEYS[6], KEYS[3], 'member', late[i], late[i + 1], 'not a deadline')
  redis.call('HDEL', KEYS[2], late[i])
  redis.call('ZREM', KEYS[3], late[i])
end
local old = {}
local page = redis.call('ZRANGE', KEYS[3], ARGV[3], ARGV[4], 'WITHSCORES')
for i = 1, #page, 2 do
  if tonumber(page[i + 1]) > tonumber(ARGV[2]) then break end
  old[#old + 1] = page[i]
end
local wanted = 0
for i = 1, #old do
  if redis.call('ZSCORE', KEYS[4], old[i]) or redis.call('ZSCORE', KEYS[5], old[i]) then
    wanted = wanted + 1
  else
    redis.call('HDEL', KEYS[2], old[i])
    redis.call('ZREM', KEYS[3], old[i])
  end
end
return { wanted, #old }`;

export const VALUE_SCRIPTS = {
  valuesKeep: KEEP,
  valuesForget: FORGET,
  valuesPrune: PRUNE,
} as const;
