/**
 * What is atomic in the index of deadlines in Redis. Scores are deadlines. The first key is the watch,
 * the first argument its token: only the replica that watches writes the index.
 */
import { FENCE } from '../state/scripts.js';

const WATCHING = `${FENCE}
local refusal = fenced(KEYS[1], ARGV[1])
if refusal then return refusal end
`;

/**
 * KEYS: watch; tracked and overdue, for each database. ARGV: token; for each reading the database's place (from 1),
 * key, `until`, `endless` or `gone`, and the deadline, or else when it was read.
 */
const PUT = `${WATCHING}
for i = 2, #ARGV, 4 do
  local at = tonumber(ARGV[i]) * 2
  local tracked, overdue, key, life = KEYS[at], KEYS[at + 1], ARGV[i + 1], ARGV[i + 2]
  if life == 'until' then
    redis.call('ZADD', tracked, ARGV[i + 3], key)
    redis.call('ZREM', overdue, key)
  elseif life == 'endless' then
    redis.call('ZREM', tracked, key)
    redis.call('ZREM', overdue, key)
  else
    for index = at, at + 1 do
      local deadline = redis.call('ZSCORE', KEYS[index], key)
      if deadline and tonumber(deadline) > tonumber(ARGV[i + 3]) then
        redis.call('ZREM', KEYS[index], key)
      end
    end
  end
end
return redis.status_reply('OK')`;

/**
 * KEYS: watch; tracked and overdue, for each database. ARGV: token; for each key the database's place,
 * and the key.
 */
const REMOVE = `${WATCHING}
for i = 2, #ARGV, 2 do
  local at = tonumber(ARGV[i]) * 2
  redis.call('ZREM', KEYS[at], ARGV[i + 1])
  redis.call('ZREM', KEYS[at + 1], ARGV[i + 1])
end
return redis.status_reply('OK')`;

/** KEYS: watch, tracked, overdue. ARGV: token, until, count. Returns a list: key, deadline, key, deadline… */
const TAKE = `${WATCHING}
local due = redis.call(
  'ZRANGE', KEYS[2], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
for i = 1, #due, 2 do
  redis.call('ZREM', KEYS[2], due[i])
  redis.call('ZADD', KEYS[3], due[i + 1], due[i])
end
return due`;

/** KEYS: tracked, overdue. Returns how many entries they had. */
const FORGET = `local count = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2])
redis.call('UNLINK', KEYS[1], KEYS[2])
return count`;

export const DEADLINE_SCRIPTS = {
  deadlinesPut: PUT,
  deadlinesRemove: REMOVE,
  deadlinesTake: TAKE,
  deadlinesForget: FORGET,
} as const;
