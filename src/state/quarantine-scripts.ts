/**
 * Scripts that remove foreign entries (written by no relay) from the state. An entry is recorded in the quarantine and
 * removed from its key in one step. A whole key of the wrong type is renamed, or deleted where RENAME is not allowed.
 */

import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { PROBES } from '../redis/scripts.js';
import { GROUP } from './format.js';

/** The number of records kept; the oldest is dropped for a new one. */
export const QUARANTINE_ENTRIES_MAX = 2_000;

/** The bytes kept of a name and of a value: with the limit above at most some 18 MB. */
const NAME_BYTES_MAX = 1_024;
const VALUE_BYTES_MAX = 8 * 1_024;

/**
 * Lua: records an entry; the caller removes it. `n` counts all records ever made. The quarantine may be damaged as
 * well: a key of another type, or a stream without a free id, is deleted and started again. The first write is one that
 * Redis allows at maxmemory, which allows the script's other writes.
 */
export const QUARANTINE = `local function quarantine(into, key, kind, name, value, reason)
  local last = redis.pcall('XREVRANGE', into, '+', '-', 'COUNT', 1)
  local n = not last.err and last[1] and tonumber(last[1][2][2]) or 0
  if not (n >= 0 and n < 1e15) then n = 0 end
  local fields = {
    'n', string.format('%.0f', n + 1), 'key', key, 'kind', kind, 'reason', reason,
    'name', string.sub(name, 1, ${NAME_BYTES_MAX}), 'bytes', #value,
    'value', string.sub(value, 1, ${VALUE_BYTES_MAX}),
  }
  local function add()
    return redis.pcall('XADD', into, 'MAXLEN', ${QUARANTINE_ENTRIES_MAX}, '*', unpack(fields))
  end
  redis.pcall('XDEL', into, '0-1')
  local added = add()
  if added.err and not string.find(added.err, 'OOM', 1, true) then
    redis.call('UNLINK', into)
    add()
  end
end
`;

/** Lua: whether a score is a deadline; the same as `isDeadline` (deadlines.ts). */
export const IS_DEADLINE = `local function is_deadline(score)
  local ms = tonumber(score)
  return ms ~= nil and ms >= 0 and ms <= ${DEADLINE_MS_MAX} and ms % 1 == 0
end
`;

/** Lua: a whole number of at most 15 digits, or nil. The relay's counters and times have fewer. */
export const WHOLE = `local function whole(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or nil
end
`;

/**
 * KEYS: quarantine; the keys of the entries. ARGV: for each entry the index of its key in KEYS, kind (member, field or
 * string), name, the score that was read or the SHA-1 of another value, reason; then the related entry: the index of
 * its key (0: none), kind (member, field or entry), name. An entry that has changed since it was read stays. Returns
 * how many were moved.
 */
const MOVE = `${QUARANTINE}
local moved = 0
for i = 1, #ARGV, 8 do
  local place, kind, name = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local key = KEYS[place]
  local value
  if kind == 'member' then
    value = redis.call('ZSCORE', key, name)
  elseif kind == 'field' then
    value = redis.call('HGET', key, name)
  else
    value = redis.call('GET', key)
  end
  local is_same = value and (kind == 'member' and tonumber(value) == tonumber(ARGV[i + 3]) or
    redis.sha1hex(value) == ARGV[i + 3])
  if is_same then
    quarantine(KEYS[1], key, kind, name, value, ARGV[i + 4])
    if kind == 'member' then
      redis.call('ZREM', key, name)
    elseif kind == 'field' then
      redis.call('HDEL', key, name)
    else
      redis.call('DEL', key)
    end
    local other_place = tonumber(ARGV[i + 5])
    local other = KEYS[other_place]
    if ARGV[i + 6] == 'member' then redis.call('ZREM', other, ARGV[i + 7]) end
    if ARGV[i + 6] == 'field' then redis.call('HDEL', other, ARGV[i + 7]) end
    if ARGV[i + 6] == 'entry' then
      redis.call('XACK', other, '${GROUP}', ARGV[i + 7])
      redis.call('XDEL', other, ARGV[i + 7])
    end
    moved = moved + 1
  end
end
return moved`;

/**
 * KEYS: quarantine; each key to check, and its name in the quarantine. ARGV: the expected types. A key that already has
 * that name is overwritten. A quarantine of the wrong type is deleted. If the relay's user has no permission to rename,
 * the checked key is deleted, and the record keeps the start of a string. Returns how many were moved; or the key that
 * could not be deleted, and the error.
 */
const RENAME = `${QUARANTINE}${PROBES}
local moved = 0
local is_wrong = function(answer)
  return type(answer) == 'table' and answer.err and string.find(answer.err, 'WRONGTYPE', 1, true)
end
if is_wrong(redis.pcall('XLEN', KEYS[1])) then
  redis.call('UNLINK', KEYS[1])
  moved = 1
end
for i = 2, #KEYS, 2 do
  local wanted = ARGV[i / 2]
  if is_wrong(redis.pcall(probes[wanted], KEYS[i])) then
    local reason = 'expected a ' .. wanted .. ', found another type'
    redis.pcall('UNLINK', KEYS[i + 1])
    local answer = redis.pcall('RENAME', KEYS[i], KEYS[i + 1])
    if not answer.err then
      quarantine(KEYS[1], KEYS[i], 'key', KEYS[i + 1], '', reason)
    else
      local value = redis.pcall('GET', KEYS[i])
      local deleted = redis.pcall('UNLINK', KEYS[i])
      if type(deleted) == 'table' then return { KEYS[i], deleted.err } end
      if type(value) ~= 'string' then value = '' end
      quarantine(KEYS[1], KEYS[i], 'deleted_key', '', value, reason .. '; deleted, since RENAME failed: ' .. answer.err)
    end
    moved = moved + 1
  end
end
return moved`;

export const QUARANTINE_SCRIPTS = { quarantineMove: MOVE, quarantineRename: RENAME } as const;
