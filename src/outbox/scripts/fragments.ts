/** Lua functions that the scripts share. Each script holds those that it calls. */

import { GROUP } from '../../state/format.js';
import { WHOLE } from '../../state/quarantine-scripts.js';
import { BREAKER, PAUSE_MS_MAX } from '../breaker.js';

/** No stream has a greater one. */
const LAST_ID = '18446744073709551615-18446744073709551615';

/**
 * `make_ready` adds an entry to a stream. `due` is nil for one that is due now. The time is stored, since the id of
 * an entry is no time once the clock was set back. `replayed` marks a former dead letter that was not attempted
 * since. Another client may have used the last possible id: `free_ids` gives its entry another one, and the next
 * claim moves it to the quarantine. `is_ours` says whether a relay can have written an
 * entry. Needs NOW.
 */
export const READY = `${WHOLE}local function free_ids(stream)
  local foreign = redis.call('XRANGE', stream, '${LAST_ID}', '${LAST_ID}')[1]
  if foreign then redis.call('XDEL', stream, foreign[1]) end
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local reset = redis.pcall('XSETID', stream, string.format('%.0f-0', now()))
  if reset.err and newest then redis.call('XSETID', stream, newest[1]) end
  if foreign then redis.call('XADD', stream, '*', unpack(foreign[2], 1, math.min(#foreign[2], 100))) end
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
 * `record_entry` records an entry of `ready` that no relay has written, or that has no delivery. `retry_of` returns
 * the attempts and the id in a member of `waiting`; nothing for one that no relay has written, which it records.
 * Needs QUARANTINE, READY.
 */
export const FOREIGN = `local function record_entry(into, stream, entry)
  local why = is_ours(entry) and 'there is no delivery with this id' or 'expected the fields id and attempts'
  quarantine(into, stream, 'entry', entry[1], table.concat(entry[2], '\\n'), why)
end
local function retry_of(into, waiting, member, score)
  local attempts, id = string.match(member, '^(%d+):(.+)$')
  if whole(attempts) then return attempts, id end
  quarantine(into, waiting, 'member', member, score, 'expected <attempts>:<id>')
end
`;

/** Gives up a claim that is still held: true; false when it is held no longer. */
export const UNCLAIM = `local function unclaim(stream, entry)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  redis.call('XACK', stream, '${GROUP}', entry)
  return true
end
`;

/**
 * A sign of life. Its first write is one that Redis allows at maxmemory, and so are then all others
 * of the script: what drains the outbox must go on when Redis is full. No key with a life of its own:
 * an eviction policy might shorten that. Needs NOW.
 */
export const ALIVE = `local function alive(replicas, name)
  redis.call('ZREM', replicas, '')
  redis.call('ZADD', replicas, now(), name)
end
`;

/** Moves a delivery among the dead letters; a line in front of it says why. `last` is JSON. Needs NOW. */
export const BURY = `local function bury(deliveries, dead, order, id, reason, attempts, last)
  local packed = redis.call('HGET', deliveries, id)
  if not packed then return end
  local at = now()
  local death = string.format(
    '{"reason":"%s","attempts":%d,"last_outcome":%s,"died_at_ms":%.0f}\\n',
    reason, attempts, last, at)
  redis.call('HDEL', deliveries, id)
  redis.call('HSET', dead, id, death .. packed)
  redis.call('ZADD', order, at, id)
end
`;

/**
 * Forgets the oldest dead letter when there are more than `count`. One at a time: what a mass burial
 * has left is not lost because of the next one. Returns how many.
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
 * The circuit breaker; breaker.ts tells how it works. `standing` says where it stands: how many of
 * `count` may be claimed, and how much of its pause is left. `heed` takes note of what an attempt
 * says, and returns the new pause in milliseconds when it opens, 0 when it closes, -1 when it stays
 * as it was. What was claimed before the pause does not end it, however it was answered: only the
 * probe does. A probe that is claimed no longer holds up nothing. A pause of which more is left than it was
 * long is over: a clock was set back. A breaker with
 * a field that no relay has written is closed; `wrong_field` names one. Needs NOW, WHOLE.
 */
export const BREAK = `local breaker_fields = { 'failures', 'failed_at', 'pauses', 'until', 'pause', 'probe' }
local function wrong_field(breaker)
  local state = redis.call('HMGET', breaker, unpack(breaker_fields))
  for i, value in ipairs(state) do
    local is_right = not value or i < 6 and whole(value) or
      i == 6 and #value <= 41 and string.match(value, '^%d+%-%d+$')
    if not is_right or i == 5 and value and whole(value) > ${PAUSE_MS_MAX} then
      return breaker_fields[i], value
    end
  end
  return nil, nil, state
end
local function breaker_of(breaker)
  local _, _, state = wrong_field(breaker)
  local found = {}
  for i, value in ipairs(state or {}) do
    found[breaker_fields[i]] = i < 6 and whole(value) or i == 6 and value or nil
  end
  return found
end
local function left_of(state)
  local left = (state['until'] or 0) - now()
  return left > 0 and left <= (state.pause or ${PAUSE_MS_MAX}) and left or 0
end
local function standing(breaker, stream, count)
  local state = breaker_of(breaker)
  if not state.pauses then return count, 0 end
  local left = left_of(state)
  if left > 0 then return 0, left end
  local probe = state.probe and redis.pcall('XPENDING', stream, '${GROUP}', state.probe, state.probe, 1)
  if probe and #probe > 0 and #redis.call('XRANGE', stream, state.probe, state.probe) > 0 then return 0, 0 end
  return 1, 0
end
local function close(breaker, entries)
  local state = breaker_of(breaker)
  if not state.pauses then
    redis.call('DEL', breaker)
    return -1
  end
  for _, entry in ipairs(entries) do
    if entry == state.probe then
      redis.call('DEL', breaker)
      return 0
    end
  end
  return -1
end
local function failed(breaker, entry, asked)
  local at = now()
  local state = breaker_of(breaker)
  local pauses = state.pauses or 0
  if pauses == 0 then
    local same_run = state.failed_at and at - state.failed_at <= ${BREAKER.runGapMsMax}
    local failures = same_run and (state.failures or 0) + 1 or 1
    redis.call('HSET', breaker, 'failures', failures, 'failed_at', at)
    if failures < ${BREAKER.failuresToOpen} and asked == 0 then return -1 end
  elseif state.probe ~= entry then
    if asked > left_of(state) then
      redis.call('HSET', breaker, 'until', at + asked, 'pause', asked)
    end
    return -1
  end
  local grown = math.min(${BREAKER.pauseFirstMs} * 2 ^ pauses, ${BREAKER.pauseMsMax})
  local pause = math.max(grown, asked)
  redis.call('HSET', breaker, 'pauses', pauses + 1, 'until', at + pause, 'pause', pause)
  redis.call('HDEL', breaker, 'probe')
  return pause
end
local function heed(breaker, entry, signal, asked)
  if signal == 'failing' then return failed(breaker, entry, tonumber(asked)) end
  if signal == 'none' then return -1 end
  if signal == 'gone' then
    redis.call('DEL', breaker)
    return -1
  end
  return close(breaker, { entry })
end
`;
