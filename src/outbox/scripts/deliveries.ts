/** Scripts for a delivery's life, from enqueue to done or dead. */

import { FENCE, NOW, TYPED } from '../../redis/scripts.js';
import { CLOCK_SLACK_MS } from '../../redis/server-clock.js';
import { GROUP } from '../../state/format.js';
import { QUARANTINE, WHOLE } from '../../state/quarantine-scripts.js';
import {
  ALIVE,
  DEAD_LETTER,
  FOREIGN,
  HISTORY,
  KEEP_COUNT,
  READY,
  THROTTLE,
  UNCLAIM,
} from './fragments.js';

/** Entries that one script examines for any that the group has skipped. */
const SKIPPED_MAX = 500;

/** CLAIM's reply in place of a time when foreign entries (written by no relay) took places. */
export const MET_FOREIGN = -2;

/** The reply of CLAIM in place of a time: the endpoint is paused. */
export const PAUSED = -3;

/** How long a captured expiration stays in `captured`: longer than a standby buffers it. */
export const CAPTURED_KEPT_MS = 25_000;

/** Entries of `captured` that one script removes: more than one script adds, and less than a millisecond's work. */
const CAPTURED_FORGOTTEN_MAX = 2_000;

/**
 * KEYS: lease, captured; for each database the deadline index's tracked and overdue; for each endpoint deliveries and
 * ready. ARGV: the lease's token, number of databases, number of expirations, the writer's field of the lease, the
 * batch's number, and packed arguments: for each expiration the database's place (from 1), key, deadline (or
 * nothing), when it was detected, number of members of captured, and these; then for each delivery the endpoint's place
 * (from 1), id, packed delivery.
 * An entry of another life of its key stays in the index.
 *
 * 1. Another replica holds the lease: nothing is written. That replica finds the expirations in its replay
 *    buffer or in the index.
 * 2. The writer has stored this batch, or a later one, under this token: the reply was lost. Nothing is
 *    written: the deliveries may have been settled since.
 * 3. The deliveries and the names are stored, and the entries leave the index, in one step. A crash before the
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
local databases, expirations = tonumber(ARGV[2]), tonumber(ARGV[3])
local types = { 'hash' }
for i = 2, 2 + 2 * databases do types[i] = 'zset' end
for i = 2 * databases + 3, #KEYS, 2 do types[i], types[i + 1] = 'hash', 'stream' end
expect_types(unpack(types))
local args, newest, members, at = cmsgpack.unpack(table.concat(ARGV, '', 6)), 0, {}, 1
for i = 1, expirations do
  local place, key, known = tonumber(args[at]) * 2 + 1, args[at + 1], tonumber(args[at + 2])
  local detected_at, last = tonumber(args[at + 3]), at + 4 + tonumber(args[at + 4])
  for n = at + 5, last do members[#members + 1], members[#members + 2] = detected_at, args[n] end
  for index = place + 1, place, -1 do
    local deadline = tonumber(redis.call('ZSCORE', KEYS[index], key) or nil)
    if deadline and (deadline == known or (not known and deadline <= detected_at + ${CLOCK_SLACK_MS})) then
      redis.call('ZREM', KEYS[index], key)
    end
    if deadline then break end
  end
  newest, at = math.max(newest, detected_at), last + 1
end
for i = at, #args, 3 do
  local stored_in = (databases + tonumber(args[i])) * 2 + 1
  if redis.call('HSETNX', KEYS[stored_in], args[i + 1], args[i + 2]) == 1 then
    make_ready(KEYS[stored_in + 1], args[i + 1], 0)
  end
end
if #members > 0 then redis.call('ZADD', KEYS[2], unpack(members)) end
local old = redis.call('ZCOUNT', KEYS[2], '-inf', newest - ${CAPTURED_KEPT_MS})
if old > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(old, ${CAPTURED_FORGOTTEN_MAX}) - 1)
end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[1] .. ' ' .. ARGV[5]) end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, throttle, replicas, waits, quarantine. ARGV: replica, count, how many due retries
 * become ready even if fresh deliveries take all places. Before it, the deliveries are ready or due. It is a
 * heartbeat, too: no claim is made by a replica that the others take for dead. A throttled or paused endpoint gets no claims. A
 * crash after it costs one counted attempt, when another replica takes over. Returns milliseconds until the result
 * may change by itself (-1: it will not; MET_FOREIGN; PAUSED), then two texts for each claim. The first one has the entry, the
 * attempts made before, replayed (1 or 0) and the id, separated by spaces; the second one is the packed delivery.
 * Foreign entries go to the quarantine. If another client has set the group ahead, skipped entries become ready again.
 */
export const CLAIM = `${NOW}${TYPED}${QUARANTINE}${READY}${FOREIGN}${ALIVE}${THROTTLE}
expect_types('stream', 'hash', 'zset', 'hash', 'zset', 'hash')
alive(KEYS[5], ARGV[1])
local left, paused, wrong, wrong_value = throttle_of(KEYS[4])
if paused then return { ${PAUSED} } end
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
    local head = { entry[1], entry[2][4], replayed(entry) and 1 or 0, entry[2][2] }
    table.insert(reply, table.concat(head, ' '))
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
 * KEYS: for each endpoint ready, waiting and throttle. ARGV: replica, for each endpoint how many claims the replica
 * knows. Returns the places (from 0) of the endpoints for which a claim may have a result: a delivery is ready, a retry
 * is due, the stream lists a claim that the replica does not know, or a key is of another type. Changes nothing.
 */
export const LOOK = `${NOW}${WHOLE}${THROTTLE}
local at, found = now(), {}
local function claimed_of(stream)
  local groups = redis.pcall('XPENDING', stream, '${GROUP}')
  if groups.err then return 0, 0 end
  for _, consumer in ipairs(groups[4] or {}) do
    if consumer[1] == ARGV[1] then return groups[1], tonumber(consumer[2]) end
  end
  return groups[1], 0
end
local function has_work(ready, waiting, known)
  local due, length = redis.pcall('ZCOUNT', waiting, '-inf', at), redis.pcall('XLEN', ready)
  if type(due) == 'table' or type(length) == 'table' then return true end
  local claimed, held = claimed_of(ready)
  return due > 0 or length > claimed or held > known
end
for i = 1, #KEYS, 3 do
  local place = (i - 1) / 3
  local typed = redis.pcall('HLEN', KEYS[i + 2])
  local left, paused = 0, false
  if type(typed) ~= 'table' then left, paused = throttle_of(KEYS[i + 2]) end
  if left == 0 and not paused and has_work(KEYS[i], KEYS[i + 1], tonumber(ARGV[place + 2])) then
    found[#found + 1] = place
  end
end
return found`;

/**
 * KEYS: ready, deliveries, for deliveries that were retried: attempts. ARGV: the entries, then their ids, packed.
 * Before it, the endpoint has accepted the webhooks. A crash before it: a takeover sends them again. Settles all at
 * once; one by one only if a claim has been lost.
 */
export const SETTLE_DONE = `${TYPED}${UNCLAIM}
expect_types('stream', 'hash', KEYS[3] and 'hash')
local args = cmsgpack.unpack(table.concat(ARGV))
local count = #args / 2
local held = redis.call('XACK', KEYS[1], '${GROUP}', unpack(args, 1, count))
if held == count then
  redis.call('XDEL', KEYS[1], unpack(args, 1, count))
  for place = 2, #KEYS do redis.call('HDEL', KEYS[place], unpack(args, count + 1)) end
else
  for i = 1, count do
    if unclaim(KEYS[1], args[i]) then
      for place = 2, #KEYS do redis.call('HDEL', KEYS[place], args[count + i]) end
    end
  end
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, waiting, waits, throttle, attempts, quarantine. ARGV: entry, member of waiting, milliseconds to wait,
 * milliseconds to throttle the endpoint from now on (0: none), id; of the attempt: milliseconds since its start,
 * duration, outcome. A crash before it: the claim is taken over, and retried early; the attempt counts and is not in
 * the history. A repeat records no attempt twice, since the claim has ended.
 */
export const SETTLE_RETRY = `${NOW}${TYPED}${WHOLE}${QUARANTINE}${UNCLAIM}${THROTTLE}${HISTORY}
expect_types('stream', 'zset', 'hash', 'hash', 'hash')
if unclaim(KEYS[1], ARGV[1]) then
  local history = history_of(KEYS[6], KEYS[5], ARGV[5])
  add_attempt(history, ARGV[6], ARGV[7], ARGV[8])
  redis.call('HSET', KEYS[5], ARGV[5], table.concat(history, ','))
  redis.call('ZADD', KEYS[2], now() + ARGV[3], ARGV[2])
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  throttle_for(KEYS[4], ARGV[4])
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, throttle, dead, dead-order, gone, replicas, attempts, quarantine. ARGV: entry, milliseconds
 * to throttle the endpoint from now on (0: none), id, reason, attempts made, JSON of the last outcome, number of dead
 * letters to keep, this replica's field of gone and its instance; of the last attempt, if one was made: milliseconds
 * since its start, duration, outcome. A crash before it: a takeover attempts the delivery again. The reason gone also
 * records that this replica sends the endpoint nothing more; the first record ends throttling. Returns how many dead
 * letters were evicted.
 */
export const SETTLE_DEAD = `${NOW}${TYPED}${WHOLE}${QUARANTINE}${UNCLAIM}${THROTTLE}${HISTORY}${DEAD_LETTER}${KEEP_COUNT}
expect_types('stream', 'hash', 'hash', 'hash', 'zset', 'hash', 'zset', 'hash')
local held = unclaim(KEYS[1], ARGV[1])
if ARGV[4] == 'gone' and redis.call('HSET', KEYS[6], ARGV[8], ARGV[9]) == 1 then
  end_throttle(KEYS[3])
  for _, field in ipairs(redis.call('HKEYS', KEYS[6])) do
    local listed = redis.call('ZSCORE', KEYS[7], string.match(field, '^[^:]*'))
    if not listed and field ~= ARGV[8] then redis.call('HDEL', KEYS[6], field) end
  end
end
if not held then return 0 end
local history = history_of(KEYS[9], KEYS[8], ARGV[3])
if ARGV[10] then add_attempt(history, ARGV[10], ARGV[11], ARGV[12]) end
dead_letter(KEYS[2], KEYS[8], KEYS[4], KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6], history)
throttle_for(KEYS[3], ARGV[2])
return ARGV[4] == 'exhausted' and keep_count(KEYS[4], KEYS[5], ARGV[7]) or 0`;

/**
 * KEYS: waiting, waits, quarantine. ARGV: cursor (0: start), count; the scheduled wait after one attempt, after two, …,
 * the last for all others: used if the wait is not stored. A retry that has longer to wait starts its wait again, since
 * the clock was set back. Returns the next cursor (0: end), and how many retries were changed.
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

/** KEYS: ready. ARGV: entry, id, attempts made. The delivery becomes ready, as if it had not been claimed. */
export const RELEASE = `${NOW}${READY}${UNCLAIM}
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if entry and unclaim(KEYS[1], ARGV[1]) then
  make_ready(KEYS[1], ARGV[2], ARGV[3], due_of(entry), replayed(entry))
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, throttle, dead-order. Returns the number of pending deliveries; the oldest due one
 * (empty: none), its due time, the current time; the number of dead letters; the milliseconds of throttling left; of a
 * pause: since when, who and why.
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
local pause = redis.call('HMGET', KEYS[4], 'paused_at', 'paused_by', 'paused_for')
return {
  redis.call('HLEN', KEYS[2]), what, due, at, redis.call('ZCARD', KEYS[5]), throttled, unpack(pause) }`;

/**
 * KEYS: throttle. ARGV: who, why (empty: not told). 0: the endpoint was paused already. Redis allows the first write at
 * maxmemory, and then allows the others.
 */
export const PAUSE = `${NOW}${TYPED}
expect_types('hash')
redis.call('HDEL', KEYS[1], '')
if redis.call('HSETNX', KEYS[1], 'paused_at', string.format('%.0f', now())) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'paused_by', ARGV[1], 'paused_for', ARGV[2])
return 1`;

/** KEYS: throttle. 0: the endpoint was not paused. */
export const RESUME = `${TYPED}
expect_types('hash')
return redis.call('HDEL', KEYS[1], 'paused_at', 'paused_by', 'paused_for') > 0 and 1 or 0`;
