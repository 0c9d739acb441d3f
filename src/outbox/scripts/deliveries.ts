/** The life of a delivery, from enqueue to done or dead. */

import { FENCE, NOW, TYPED } from '../../redis/scripts.js';
import { CLOCK_SLACK_MS } from '../../redis/server-clock.js';
import { GROUP } from '../../state/format.js';
import { QUARANTINE, WHOLE } from '../../state/quarantine-scripts.js';
import { ALIVE, BURY, FOREIGN, KEEP_COUNT, READY, THROTTLE, UNCLAIM } from './fragments.js';

/** Entries that are looked at for any that the group skips. */
const SKIPPED_MAX = 500;

/** What CLAIM returns in place of a time when entries that no relay has written have taken places. */
export const MET_FOREIGN = -2;

/** For so long it is known that an expiration was claimed: longer than a standby remembers it. */
const CLAIMED_KEPT_MS = 25_000;

/** More than one script adds: after a burst they are forgotten by and by, in less than a millisecond each time. */
const CLAIMED_FORGOTTEN_MAX = 2_000;

/**
 * KEYS: lease, claimed; the index of deadlines' tracked and overdue, for each database; deliveries and
 * ready, for each endpoint. ARGV: the lease's token, how many databases, how many claimed keys, the writer's
 * field of the lease, the batch's number; for each claimed key the database's place (from 1), key, deadline (or
 * nothing), when it was detected, member of claimed; then for each delivery the endpoint's place (from 1), id,
 * packed. A deadline that is about another life stays.
 *
 * 1. Another replica holds the lease: nothing is written. That replica finds the expirations in its replay
 *    buffer or in the index.
 * 2. The writer has stored this batch, or a later one, under this token: the reply was lost. Nothing is
 *    written: the deliveries may have been settled since.
 * 3. The deliveries are stored, and the entries of the index are removed, in one step. A crash before the
 *    script leaves the entries: the keys are found missing, and their webhooks say \`recovery\`. A crash after
 *    it costs nothing: any replica delivers.
 */
export const ENQUEUE = `${NOW}${READY}${FENCE}${TYPED}
local refusal = fenced(KEYS[1], ARGV[1])
if refusal then return refusal end
local stored = redis.call('HGET', KEYS[1], ARGV[4]) or ''
local token, number = string.match(stored, '^(%S+) (%d+)$')
if token == ARGV[1] and tonumber(number) >= tonumber(ARGV[5]) then
  return redis.status_reply('OK')
end
local databases, claimed = tonumber(ARGV[2]), tonumber(ARGV[3])
local types = { 'hash' }
for i = 2, 2 + 2 * databases do types[i] = 'zset' end
for i = 2 * databases + 3, #KEYS, 2 do types[i], types[i + 1] = 'hash', 'stream' end
expect_types(unpack(types))
local deliveries = 6 + 5 * claimed
for i = deliveries, #ARGV, 3 do
  local at = (databases + tonumber(ARGV[i])) * 2 + 1
  if redis.call('HSETNX', KEYS[at], ARGV[i + 1], ARGV[i + 2]) == 1 then
    make_ready(KEYS[at + 1], ARGV[i + 1], 0)
  end
end
local newest, members = 0, {}
for i = 6, deliveries - 1, 5 do
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
local old = redis.call('ZCOUNT', KEYS[2], '-inf', newest - ${CLAIMED_KEPT_MS})
if old > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(old, ${CLAIMED_FORGOTTEN_MAX}) - 1)
end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[1] .. ' ' .. ARGV[5]) end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, throttle, replicas, waits, quarantine. ARGV: replica, count, how many due retries are
 * made ready even where fresh deliveries take all places. Claims nothing while the endpoint is throttled; a
 * sign of life, too, so that no claim is ever made by a replica that the others take for dead. Returns
 * a list: milliseconds until something may have changed by itself (-1: nothing will; MET_FOREIGN), and for each
 * claim the entry, the attempts made before, whether it is replayed (1, or nothing), the id, and the packed
 * delivery. What no relay has written is moved to the quarantine. Somebody may have set the group ahead: then it is
 * set back, and entries that nobody has claimed are made ready again.
 */
export const CLAIM = `${NOW}${TYPED}${QUARANTINE}${READY}${FOREIGN}${ALIVE}${THROTTLE}
expect_types('stream', 'hash', 'zset', 'hash', 'zset', 'hash')
alive(KEYS[5], ARGV[1])
local left, wrong, wrong_value = throttle_of(KEYS[4])
if left > 0 then return { left } end
if wrong then quarantine(KEYS[7], KEYS[4], 'field', wrong, wrong_value, 'not a time of a throttle') end
redis.call('DEL', KEYS[4])
local groups = redis.pcall('XPENDING', KEYS[1], '${GROUP}')
if groups.err then
  redis.call('XGROUP', 'CREATE', KEYS[1], '${GROUP}', '0', 'MKSTREAM')
  groups = { 0 }
end
local count = tonumber(ARGV[2])
local fresh = redis.call('XLEN', KEYS[1]) - groups[1]
local has_met_foreign = false
local retries = math.min(count, math.max(count - fresh, tonumber(ARGV[3])))
if retries > 0 then
  local due = redis.call(
    'ZRANGE', KEYS[3], '-inf', now(), 'BYSCORE', 'LIMIT', 0, retries, 'WITHSCORES')
  for i = 1, #due, 2 do
    local attempts, id = retry_of(KEYS[7], KEYS[3], due[i], due[i + 1])
    redis.call('ZREM', KEYS[3], due[i])
    redis.call('HDEL', KEYS[6], due[i])
    if id then
      make_ready(KEYS[1], id, attempts, whole(due[i + 1]) and due[i + 1])
    else
      has_met_foreign = true
    end
  end
end

local streams = redis.call(
  'XREADGROUP', 'GROUP', '${GROUP}', ARGV[1], 'COUNT', count, 'STREAMS', KEYS[1], '>')
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local wait = first[2] and first[2] - now() or -1
local reply = { first[2] and wait < 1e15 and math.max(0, wait) or -1 }
for _, entry in ipairs(streams and streams[1][2] or {}) do
  local packed = is_ours(entry) and redis.call('HGET', KEYS[2], entry[2][2])
  if packed then
    table.insert(reply, entry[1])
    table.insert(reply, entry[2][4])
    table.insert(reply, replayed(entry) or '')
    table.insert(reply, entry[2][2])
    table.insert(reply, packed)
  else
    record_entry(KEYS[7], KEYS[1], entry)
    redis.call('XACK', KEYS[1], '${GROUP}', entry[1])
    redis.call('XDEL', KEYS[1], entry[1])
    has_met_foreign = true
  end
end
local skipped = {}
if not streams and fresh > 0 then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  redis.call('XGROUP', 'SETID', KEYS[1], '${GROUP}', newest[1])
  skipped = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ${SKIPPED_MAX})
end
for _, entry in ipairs(skipped) do
  if #redis.call('XPENDING', KEYS[1], '${GROUP}', entry[1], entry[1], 1) == 0 then
    if not is_ours(entry) then record_entry(KEYS[7], KEYS[1], entry)
    else make_ready(KEYS[1], entry[2][2], entry[2][4], due_of(entry), replayed(entry)) end
    redis.call('XDEL', KEYS[1], entry[1])
    has_met_foreign = true
  end
end
if has_met_foreign then reply[1] = ${MET_FOREIGN} end
return reply`;

/**
 * KEYS: ready, deliveries. ARGV: the entries, then their ids. Deliveries that are done are settled by the
 * dozen, so that all of them are taken for held; only if not, one by one.
 */
export const SETTLE_DONE = `${TYPED}${UNCLAIM}
expect_types('stream', 'hash')
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
return redis.status_reply('OK')`;

/**
 * KEYS: ready, waiting, waits, throttle. ARGV: entry, member of waiting, milliseconds to wait, for how many
 * milliseconds the endpoint is throttled from now on (0: it has not asked for that).
 */
export const SETTLE_RETRY = `${NOW}${TYPED}${WHOLE}${UNCLAIM}${THROTTLE}
expect_types('stream', 'zset', 'hash', 'hash')
if unclaim(KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[2], now() + ARGV[3], ARGV[2])
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  throttle_for(KEYS[4], ARGV[4])
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, throttle, dead, dead-order, gone, replicas. ARGV: entry, for how many milliseconds the
 * endpoint is throttled from now on (0: it has not asked for that), id, reason, attempts made, JSON of the last
 * outcome, how many dead letters to keep, this replica's field of gone and its printable name. With the reason gone it
 * is known in the same step that this replica sends the endpoint nothing more, and the first time the endpoint is
 * throttled no longer. Returns how many dead letters had to make room.
 */
export const SETTLE_DEAD = `${NOW}${TYPED}${WHOLE}${UNCLAIM}${THROTTLE}${BURY}${KEEP_COUNT}
expect_types('stream', 'hash', 'hash', 'hash', 'zset', 'hash', 'zset')
local held = unclaim(KEYS[1], ARGV[1])
if ARGV[4] == 'gone' and redis.call('HSET', KEYS[6], ARGV[8], ARGV[9]) == 1 then
  redis.call('DEL', KEYS[3])
  for _, field in ipairs(redis.call('HKEYS', KEYS[6])) do
    local listed = redis.call('ZSCORE', KEYS[7], string.match(field, '^[^:]*'))
    if not listed and field ~= ARGV[8] then redis.call('HDEL', KEYS[6], field) end
  end
end
if not held then return 0 end
bury(KEYS[2], KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
throttle_for(KEYS[3], ARGV[2])
return ARGV[4] == 'exhausted' and keep_count(KEYS[4], KEYS[5], ARGV[7]) or 0`;

/**
 * KEYS: waiting, waits, quarantine. ARGV: where to go on (0: from the start), count; for how long at most, after
 * one attempt, after two…, the last for all others: where nothing says for how long a retry was to
 * wait. One that has longer than that to wait waits as long from now on, since the clock was set back.
 * Returns where to go on (0: at the end), and how many were changed.
 */
export const LIMIT_WAITS = `${NOW}${TYPED}${QUARANTINE}${READY}${FOREIGN}
expect_types('zset', 'hash')
if redis.call('ZCARD', KEYS[1]) == 0 then
  redis.call('UNLINK', KEYS[2])
  return { '0', 0 }
end
local at = now()
local page = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local changed = 0
for i = 1, #page[2], 2 do
  local member, left = page[2][i], page[2][i + 1] - at
  local attempts = left > 0 and retry_of(KEYS[3], KEYS[1], member, page[2][i + 1])
  if left > 0 and not attempts then
    redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', KEYS[2], member)
  elseif left > 0 then
    local usual = ARGV[2 + math.max(1, math.min(tonumber(attempts), #ARGV - 2))]
    local stored = redis.call('HGET', KEYS[2], member)
    if stored and not whole(stored) then
      quarantine(KEYS[3], KEYS[2], 'field', member, stored, 'not a number of milliseconds')
      redis.call('HDEL', KEYS[2], member)
    end
    local wait = whole(stored) or tonumber(usual)
    if left > wait then
      redis.call('ZREM', KEYS[1], member)
      redis.call('ZADD', KEYS[1], at + wait, member)
      changed = changed + 1
    end
  end
end
return { page[1], changed }`;

/** KEYS: ready. ARGV: entry, id, attempts made. Ready again, as if it had not been claimed. */
export const RELEASE = `${NOW}${READY}${UNCLAIM}
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if entry and unclaim(KEYS[1], ARGV[1]) then
  make_ready(KEYS[1], ARGV[2], ARGV[3], due_of(entry), replayed(entry))
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, throttle, dead-order. Returns the number of deliveries that are
 * neither done nor dead; what the oldest due one is (empty: none is), since when it has been due, and
 * the time; the number of dead letters, and for how many milliseconds more the endpoint is throttled.
 */
export const DEPTH = `${NOW}${READY}${THROTTLE}
local at = now()
local last = '0-0'
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if not groups.err then
  for _, group in ipairs(groups) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields.name == '${GROUP}' then last = fields['last-delivered-id'] end
  end
end
local oldest = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
local waiting = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local what, due = '', at
if oldest then what, due = oldest[1], tonumber(due_of(oldest)) end
local waits_for = tonumber(waiting[2])
if waits_for and waits_for <= at and (what == '' or waits_for < due) then
  what, due = waiting[1], math.max(0, waits_for)
end
local throttled = throttle_of(KEYS[4])
return { redis.call('HLEN', KEYS[2]), what, due, at, redis.call('ZCARD', KEYS[5]), throttled }`;
