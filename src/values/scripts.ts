/**
 * What is atomic in the values that are kept in Redis. Two keys hold them: a hash of what was read, and
 * a sorted set of the deadlines that were read with it.
 */
import { WATCHING } from '../state/scripts.js';

/** KEYS: lease, values, deadlines. ARGV: token; for each key its deadline, the key, the value. */
const KEEP = `${WATCHING}
for i = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i + 2])
  redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1])
end
return redis.status_reply('OK')`;

/** KEYS: lease, values, deadlines. ARGV: token; for each key its deadline, or '' for any, and the key. */
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

/**
 * KEYS: lease, values, deadlines; tracked and overdue of the index. ARGV: token, until, the rank of the
 * first to look at, that of the last. Returns how many of those that it has looked at are still wanted,
 * and how many there were.
 */
const PRUNE = `${WATCHING}
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
