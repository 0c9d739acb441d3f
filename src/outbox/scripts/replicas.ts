/** Scripts about replicas: heartbeats, and takeover of the claims of dead replicas. */
import { NOW, TYPED } from '../../redis/scripts.js';
import { GROUP } from '../../state/format.js';
import { QUARANTINE } from '../../state/quarantine-scripts.js';
import { ALIVE, DEAD_LETTER, FOREIGN, HISTORY, READY, UNCLAIM } from './fragments.js';

/**
 * KEYS: replicas, endpoints, format. ARGV: replica, format version, the endpoints of its configuration. A heartbeat.
 * Writes the format again after a flush; returns 1 in that case, otherwise 0.
 */
export const HEARTBEAT = `${NOW}${ALIVE}
alive(KEYS[1], ARGV[1])
local at = now()
local is_new = redis.call('SETNX', KEYS[3], ARGV[2])
for i = 3, #ARGV do redis.call('ZADD', KEYS[2], at, ARGV[i]) end
return is_new`;

/**
 * Lua: ends a claim and makes its delivery ready, with `attempts` added. A foreign entry (written by no relay) is left
 * to the next claim, which moves it to the quarantine. Needs NOW, READY, UNCLAIM.
 */
const HAND_BACK = `local function hand_back(stream, name, attempts)
  local entry = redis.call('XRANGE', stream, name, name)[1]
  if entry and is_ours(entry) and unclaim(stream, name) then
    local is_replay = attempts == 0 and replayed(entry)
    make_ready(stream, entry[2][2], entry[2][4] + attempts, due_of(entry), is_replay)
  else
    redis.call('XACK', stream, '${GROUP}', name)
  end
end
`;

/**
 * KEYS: ready. ARGV: replica, start ('-': the beginning), count, the entries that the replica knows. Before it, a lost
 * reply may have left claims without an attempt. Examines `count` claims of the replica; the unknown ones become
 * ready, and their attempts do not count. Returns the next start; empty: the end. A crash leaves the rest to a
 * takeover.
 */
export const RELEASE_UNKNOWN = `${NOW}${READY}${UNCLAIM}${HAND_BACK}
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local claims = redis.pcall('XPENDING', KEYS[1], '${GROUP}', ARGV[2], '+', ARGV[3], ARGV[1])
if claims.err then return '' end
for _, claim in ipairs(claims) do
  if not known[claim[1]] then hand_back(KEYS[1], claim[1], 0) end
end
return #claims < tonumber(ARGV[3]) and '' or '(' .. claims[#claims][1]`;

/**
 * KEYS: ready of each endpoint. ARGV: replica. Returns for each endpoint the other consumers of the group. Another
 * client may have claimed as well, under any name. Changes nothing.
 */
export const OTHERS = `local all = {}
for i = 1, #KEYS do
  all[i] = {}
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[i], '${GROUP}')
  if consumers.err then
    -- Without a claim, the stream or the group is missing. Other scripts report a key of another type.
    local text = consumers.err
    local is_expected = text:find('no such key') or text:find('NOGROUP') or text:find('WRONGTYPE')
    if not is_expected then return consumers end
    consumers = {}
  end
  for _, fields in ipairs(consumers) do
    for at = 1, #fields, 2 do
      if fields[at] == 'name' and fields[at + 1] ~= ARGV[1] then table.insert(all[i], fields[at + 1]) end
    end
  end
end
return all`;

/**
 * KEYS: ready, replicas. ARGV: replica, its last heartbeat (empty: none), count. Before it, no running replica holds
 * the claims of a dead one. The claims become ready, with the attempt counted, unless the replica has sent another
 * heartbeat. Returns how many. After a crash any replica continues.
 */
export const RECLAIM = `${NOW}${READY}${UNCLAIM}${HAND_BACK}
if (redis.call('ZSCORE', KEYS[2], ARGV[1]) or '') ~= ARGV[2] then return 0 end
local claims = redis.call('XPENDING', KEYS[1], '${GROUP}', '-', '+', ARGV[3], ARGV[1])
for _, claim in ipairs(claims) do hand_back(KEYS[1], claim[1], 1) end
if #claims < tonumber(ARGV[3]) then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${GROUP}', ARGV[1])
end
return #claims`;

/** KEYS: replicas. ARGV: replica, its last heartbeat. Removes a dead replica, unless it has sent another one. */
export const FORGET_REPLICA = `if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`;

/**
 * KEYS: endpoints, ready, deliveries, waiting, throttle, dead, dead-order, waits, attempts, quarantine. ARGV: endpoint,
 * when a running replica last had it, reason, count. Dead-letters up to `count` deliveries of an endpoint that no running
 * replica has; an attempt claimed by a dead replica counts. Returns how many; removes the endpoint once nothing is
 * left. After a crash the next round continues: each delivery is in one place.
 */
export const DEAD_LETTER_UNKNOWN = `${NOW}${TYPED}${QUARANTINE}${READY}${FOREIGN}${HISTORY}${DEAD_LETTER}
expect_types('zset', 'stream', 'hash', 'zset', 'hash', 'hash', 'zset', 'hash', 'hash')
local function move(id, attempts)
  local history = history_of(KEYS[10], KEYS[9], id)
  dead_letter(KEYS[3], KEYS[9], KEYS[6], KEYS[7], id, ARGV[3], attempts, 'null', history)
end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local count = tonumber(ARGV[4])
local moved = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', count)) do
  local claim = redis.pcall('XPENDING', KEYS[2], '${GROUP}', entry[1], entry[1], 1)
  redis.call('XDEL', KEYS[2], entry[1])
  if is_ours(entry) then
    move(entry[2][2], entry[2][4] + #claim)
  else
    record_entry(KEYS[10], KEYS[2], entry)
  end
  moved = moved + 1
end
if moved < count then
  for _, member in ipairs(redis.call('ZRANGE', KEYS[4], 0, count - moved - 1)) do
    local attempts, id = retry_of(KEYS[10], KEYS[4], member, '')
    redis.call('ZREM', KEYS[4], member)
    redis.call('HDEL', KEYS[8], member)
    if id then move(id, attempts) end
    moved = moved + 1
  end
end
if moved == 0 then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[8], KEYS[9])
  if redis.call('ZCARD', KEYS[7]) == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
end
return moved`;
