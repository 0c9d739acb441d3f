/** Lua functions shared by the scripts. Each script includes those that it calls. */

import { GROUP, HISTORY_MAX } from '../../state/format.js';
import { WHOLE } from '../../state/quarantine-scripts.js';
import { RETRY_AFTER_MS_MAX } from '../outbox.js';

/** The greatest possible id of a stream entry. */
const LAST_ID = '18446744073709551615-18446744073709551615';

/**
 * `make_ready` adds an entry to a stream; `due` nil: due now. The due time is stored, since an entry's id is not a
 * reliable time once the clock was set back. `replayed` marks a replayed dead letter that was not attempted since.
 * Another client may have used the last possible id. `free_ids` then makes the stream anew, since XSETID of Redis 8 and
 * of Valkey refuses ids below a deleted one. All claims stay, and the entry with that id gets another one: the next claim
 * moves it to the quarantine. `is_ours`: whether a relay can have written an entry. Needs NOW.
 */
export const READY = `${WHOLE}local function group_of(stream)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields.name == '${GROUP}' then return fields end
  end
end
local function copy_entry(stream, id, fields)
  redis.call('XADD', stream, id, unpack(fields, 1, math.min(#fields, 100)))
end
local function free_ids(stream)
  local group, entries = group_of(stream), redis.call('XRANGE', stream, '-', '+')
  local claims = group and redis.call('XPENDING', stream, '${GROUP}', '-', '+', group.pending) or {}
  redis.call('DEL', stream)
  local newest, foreign = '0-0', nil
  for _, entry in ipairs(entries) do
    if entry[1] == '${LAST_ID}' then
      foreign = entry[2]
    else
      copy_entry(stream, entry[1], entry[2])
      newest = entry[1]
    end
  end
  if group then
    local read_to = group['last-delivered-id']
    if read_to == '${LAST_ID}' then read_to = newest end
    redis.call('XGROUP', 'CREATE', stream, '${GROUP}', read_to, 'MKSTREAM')
  end
  for _, claim in ipairs(claims) do
    redis.call('XCLAIM', stream, '${GROUP}', claim[2], 0, claim[1],
      'IDLE', claim[3], 'RETRYCOUNT', claim[4], 'FORCE', 'JUSTID')
  end
  if foreign then copy_entry(stream, '*', foreign) end
end
local function make_ready(stream, id, attempts, due, replayed)
  local fields = { 'id', id, 'attempts', attempts, 'due', due or now(), 'replayed', replayed }
  local last = replayed and 8 or 6
  local added = redis.pcall('XADD', stream, '*', unpack(fields, 1, last))
  if not added.err then return end
  if string.find(added.err, 'exhausted the last possible ID', 1, true) then free_ids(stream) end
  redis.call('XADD', stream, '*', unpack(fields, 1, last))
end
local function is_ours(entry)
  local fields = entry[2]
  return fields[1] == 'id' and fields[3] == 'attempts' and whole(fields[4]) ~= nil
end
local function due_of(entry)
  return whole(entry[2][6]) or whole(string.match(entry[1], '^%d+')) or now()
end
local function replayed(entry)
  return entry[2][8]
end
`;

/**
 * `record_entry` records an entry of `ready` that is foreign (written by no relay) or has no delivery. `retry_of`
 * returns attempts and id of a member of `waiting`; it records a foreign member, and returns nothing. Needs QUARANTINE,
 * READY.
 */
export const FOREIGN = `local function record_entry(into, stream, entry)
  local reason = is_ours(entry) and 'there is no delivery with this id' or 'expected the fields id and attempts'
  quarantine(into, stream, 'entry', entry[1], table.concat(entry[2], '\\n'), reason)
end
local function retry_of(into, waiting, member, score)
  local attempts, id = string.match(member, '^(%d+):(.+)$')
  if whole(attempts) then return attempts, id end
  quarantine(into, waiting, 'member', member, score, 'expected <attempts>:<id>')
end
`;

/** Ends a claim; false: the claim was lost already. */
export const UNCLAIM = `local function unclaim(stream, entry)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  redis.call('XACK', stream, '${GROUP}', entry)
  return true
end
`;

/**
 * A heartbeat. Its first write is one that Redis allows at maxmemory, which allows the script's other writes: the
 * outbox must drain when Redis is full. No TTL is used, since an eviction policy might delete the key. Needs NOW.
 */
export const ALIVE = `local function alive(replicas, name)
  redis.call('ZREM', replicas, '')
  redis.call('ZADD', replicas, now(), name)
end
`;

/** The longest outcome of an attempt, in short. */
const OUTCOME_BYTES_MAX = 64;

/** The longest text of a history: two numbers of 15 digits, an outcome and the punctuation for each attempt. */
const HISTORY_BYTES_MAX = HISTORY_MAX * (2 * 15 + OUTCOME_BYTES_MAX + 7);

/**
 * The history of a delivery is a list of items of JSON, one for each failed attempt. `history_of` returns the items
 * that a relay can have written, and records any other text in the quarantine. `add_attempt` appends an attempt, and
 * removes the oldest one if there are too many; `ago` is the time since the attempt started, in milliseconds. Needs
 * NOW, QUARANTINE, WHOLE.
 */
export const HISTORY = `local function add_item(history, started_at, duration, outcome)
  table.insert(history, string.format('[%.0f,%.0f,"%s"]', started_at, duration, outcome))
  if #history > ${HISTORY_MAX} then table.remove(history, 1) end
end
local function history_of(into, recorded, id)
  local history = {}
  local text = redis.call('HGET', recorded, id)
  if not text then return history end
  local start = string.sub(text, 1, ${HISTORY_BYTES_MAX})
  for started_at, duration, outcome in string.gmatch(start, '%[(%d+),(%d+),"([A-Za-z0-9_ ]+)"%]') do
    if whole(started_at) and whole(duration) and #outcome <= ${OUTCOME_BYTES_MAX} then
      add_item(history, started_at, duration, outcome)
    end
  end
  if table.concat(history, ',') ~= text then
    quarantine(into, recorded, 'field', id, text, 'not a list of attempts')
  end
  return history
end
local function add_attempt(history, ago, duration, outcome)
  add_item(history, now() - ago, duration, outcome)
end
`;

/**
 * Moves a delivery to the dead letters, with a line of JSON about its death and its history. `last` is JSON. Needs NOW.
 */
export const DEAD_LETTER = `local function dead_letter(
  deliveries, recorded, dead, order, id, reason, attempts, last, history)
  local packed = redis.call('HGET', deliveries, id)
  if not packed then return end
  local at = now()
  local death = string.format(
    '{"reason":"%s","attempts":%d,"last_outcome":%s,"died_at_ms":%.0f,"history":[%s]}\\n',
    reason, attempts, last, at, table.concat(history, ','))
  redis.call('HDEL', deliveries, id)
  redis.call('HDEL', recorded, id)
  redis.call('HSET', dead, id, death .. packed)
  redis.call('ZADD', order, at, id)
end
`;

/**
 * Evicts the oldest dead letter if there are more than `count`. One per call: a mass of dead letters is not lost
 * because of the next one. Returns how many.
 */
export const KEEP_COUNT = `local function keep_count(dead, order, count)
  if redis.call('ZCARD', order) <= tonumber(count) then return 0 end
  local id = redis.call('ZRANGE', order, 0, 0)[1]
  redis.call('HDEL', dead, id)
  redis.call('ZREM', order, id)
  return 1
end
`;

/**
 * `throttle_of` returns for how much longer an endpoint is throttled (0: it is not), whether it is paused, and the name
 * and value of a foreign field. If more is left than the whole length, the clock was set back and throttling is over.
 * `throttle_for` stores the requested throttling, unless the present one ends later. `end_throttle` leaves a pause as it
 * is. Needs NOW, WHOLE.
 */
export const THROTTLE = `local function throttle_of(throttle)
  local stored = redis.call('HMGET', throttle, 'until', 'length', 'paused_at')
  local paused = stored[3] and true or false
  if not stored[1] and not stored[2] then return 0, paused end
  local ends, length = whole(stored[1]), whole(stored[2])
  if not ends then return 0, paused, 'until', stored[1] or '' end
  if not length or length > ${RETRY_AFTER_MS_MAX} then return 0, paused, 'length', stored[2] or '' end
  local left = ends - now()
  return left <= length and math.max(0, left) or 0, paused
end
local function end_throttle(throttle)
  redis.call('HDEL', throttle, 'until', 'length')
end
local function throttle_for(throttle, asked)
  local ms = tonumber(asked)
  if ms > throttle_of(throttle) then redis.call('HSET', throttle, 'until', now() + ms, 'length', ms) end
end
`;
