/** The life of a delivery, from enqueue to done or dead. */
import { CLOCK_SLACK_MS } from '../../deadlines/deadlines.js';
import { GROUP } from '../../state/format.js';
import { FENCE, NOW } from '../../state/scripts.js';
import { ALIVE, BREAK, BURY, KEEP_COUNT, READY, UNCLAIM } from './fragments.js';

/** For so long it is known that an expiration was claimed: longer than a standby remembers it. */
const CLAIMED_KEPT_MS = 25_000;

/**
 * KEYS: lease, claimed; the index of deadlines' tracked and overdue, for each database; deliveries and
 * ready, for each endpoint. ARGV: the lease's token, how many databases, how many claimed keys; for
 * each of these the database's place (from 1), key, deadline (or nothing), when it was detected,
 * member of claimed; then for each delivery the endpoint's place (from 1), id, packed. A delivery that is
 * there already stays as it is, and so does a deadline that is about another life. Looks at every key before it writes: where one
 * holds something else, nothing is stored, since the caller repeats all of it.
 */
export const ENQUEUE = `${NOW}${READY}${FENCE}
local refusal = fenced(KEYS[1], ARGV[1])
if refusal then return refusal end
local databases, claimed = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 2, 2 + 2 * databases do redis.call('ZCARD', KEYS[i]) end
for i = 2 * databases + 3, #KEYS, 2 do
  redis.call('HLEN', KEYS[i])
  redis.call('XLEN', KEYS[i + 1])
end
local deliveries = 4 + 5 * claimed
for i = deliveries, #ARGV, 3 do
  local at = (databases + tonumber(ARGV[i])) * 2 + 1
  if redis.call('HSETNX', KEYS[at], ARGV[i + 1], ARGV[i + 2]) == 1 then
    make_ready(KEYS[at + 1], ARGV[i + 1], 0)
  end
end
local newest, members = 0, {}
for i = 4, deliveries - 1, 5 do
  local place, key = tonumber(ARGV[i]) * 2 + 1, ARGV[i + 1]
  local known, detected_at = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  for index = place + 1, place, -1 do
    local deadline = tonumber(redis.call('ZSCORE', KEYS[index], key) or nil)
    if deadline and (deadline == known or (not known and deadline <= detected_at + ${CLOCK_SLACK_MS})) then
      redis.call('ZREM', KEYS[index], key)
    end
    if deadline then break end
  end
  newest = math.max(newest, detected_at)
  members[#members + 1], members[#members + 2] = detected_at, ARGV[i + 4]
end
if #members > 0 then redis.call('ZADD', KEYS[2], unpack(members)) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', newest - ${CLAIMED_KEPT_MS})
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, breaker, replicas. ARGV: replica, count, how many due retries are
 * made ready even where fresh deliveries take all places. Claims nothing while the breaker is open; a
 * sign of life, too, so that no claim is ever made by a replica that the others take for dead. Returns
 * a list: milliseconds until something may have changed by itself (-1: nothing will), and for each
 * claim the entry, the attempts made before, and the packed delivery.
 */
export const CLAIM = `${NOW}${READY}${ALIVE}${BREAK}
alive(KEYS[5], ARGV[1])
local groups = redis.pcall('XPENDING', KEYS[1], '${GROUP}')
if groups.err then
  redis.call('XGROUP', 'CREATE', KEYS[1], '${GROUP}', '0', 'MKSTREAM')
  groups = { 0 }
end
local count, left = standing(KEYS[4], KEYS[1], tonumber(ARGV[2]))
if count == 0 then return { left > 0 and left or -1 } end

local fresh = redis.call('XLEN', KEYS[1]) - groups[1]
local retries = math.min(count, math.max(count - fresh, tonumber(ARGV[3])))
if retries > 0 then
  local due = redis.call(
    'ZRANGE', KEYS[3], '-inf', now(), 'BYSCORE', 'LIMIT', 0, retries, 'WITHSCORES')
  for i = 1, #due, 2 do
    local attempts, id = string.match(due[i], '^(%d+):(.*)$')
    redis.call('ZREM', KEYS[3], due[i])
    make_ready(KEYS[1], id, attempts, due[i + 1])
  end
end

local streams = redis.call(
  'XREADGROUP', 'GROUP', '${GROUP}', ARGV[1], 'COUNT', count, 'STREAMS', KEYS[1], '>')
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local reply = { first[2] and math.max(0, first[2] - now()) or -1 }
for _, entry in ipairs(streams and streams[1][2] or {}) do
  local packed = redis.call('HGET', KEYS[2], entry[2][2])
  if packed then
    table.insert(reply, entry[1])
    table.insert(reply, entry[2][4])
    table.insert(reply, packed)
  else
    redis.call('XACK', KEYS[1], '${GROUP}', entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
  end
end
if #reply > 1 and redis.call('HEXISTS', KEYS[4], 'pauses') == 1 then
  redis.call('HSET', KEYS[4], 'probe', reply[2])
end
return reply`;

/**
 * KEYS: ready, deliveries, breaker. ARGV: the entries, then their ids. Deliveries that are done are
 * settled by the dozen, so that all of them are taken for held; only if not, one by one. Returns
 * what became of the breaker.
 */
export const SETTLE_DONE = `${NOW}${UNCLAIM}${BREAK}
local count = #ARGV / 2
local held = redis.call('XACK', KEYS[1], '${GROUP}', unpack(ARGV, 1, count))
if held == count then
  redis.call('XDEL', KEYS[1], unpack(ARGV, 1, count))
  redis.call('HDEL', KEYS[2], unpack(ARGV, count + 1))
else
  for i = 1, count do
    if unclaim(KEYS[1], ARGV[i]) then redis.call('HDEL', KEYS[2], ARGV[count + i]) end
  end
end
return held > 0 and close(KEYS[3], { unpack(ARGV, 1, count) }) or -1`;

/**
 * KEYS: ready, waiting, breaker. ARGV: entry, signal, the pause that it asks for, member of waiting,
 * milliseconds to wait. Returns what became of the breaker.
 */
export const SETTLE_RETRY = `${NOW}${UNCLAIM}${BREAK}
if not unclaim(KEYS[1], ARGV[1]) then return -1 end
redis.call('ZADD', KEYS[2], now() + ARGV[5], ARGV[4])
return heed(KEYS[3], ARGV[1], ARGV[2], ARGV[3])`;

/**
 * KEYS: ready, deliveries, breaker, dead, dead-order. ARGV: entry, signal, the pause that it asks
 * for, id, reason, attempts made, JSON of the last outcome, how many dead letters to keep. Returns what became of the breaker,
 * and how many dead letters had to make room.
 */
export const SETTLE_DEAD = `${NOW}${UNCLAIM}${BREAK}${BURY}${KEEP_COUNT}
if not unclaim(KEYS[1], ARGV[1]) then return { -1, 0 } end
bury(KEYS[2], KEYS[4], KEYS[5], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
local evicted = ARGV[5] == 'exhausted' and keep_count(KEYS[4], KEYS[5], ARGV[8]) or 0
return { heed(KEYS[3], ARGV[1], ARGV[2], ARGV[3]), evicted }`;

/** KEYS: ready. ARGV: entry, id, attempts made. Ready again, as if it had not been claimed. */
export const RELEASE = `${READY}${UNCLAIM}
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if entry and unclaim(KEYS[1], ARGV[1]) then
  make_ready(KEYS[1], ARGV[2], ARGV[3], due_of(entry))
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, breaker, dead-order. Returns the number of deliveries that are
 * neither done nor dead, for how many milliseconds the oldest due one has been due (-1: none is),
 * the number of dead letters, and whether the breaker is closed, open or half_open.
 */
export const DEPTH = `${NOW}${READY}${BREAK}
local at = now()
local last = '0-0'
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if not groups.err then
  for _, group in ipairs(groups) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then last = group[i + 1] end
    end
  end
end
local oldest = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
local waiting = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
local due_for = -1
if oldest then due_for = math.max(0, at - due_of(oldest)) end
if waiting then due_for = math.max(due_for, at - waiting) end
local breaker = 'closed'
if redis.call('HEXISTS', KEYS[4], 'pauses') == 1 then
  local _, left = standing(KEYS[4], KEYS[1], 1)
  breaker = left > 0 and 'open' or 'half_open'
end
return { redis.call('HLEN', KEYS[2]), due_for, redis.call('ZCARD', KEYS[5]), breaker }`;
