/**
 * The outbox's writes, each one atomic script. Every key that a script touches is declared. An
 * entry's place in the stream is the claim: XACK answers 1 to its holder alone, so that whoever
 * lost a claim (a replica that was taken for dead) changes nothing with it.
 */
import type { Redis } from 'ioredis';
import { GROUP } from './format.js';

/** Milliseconds by the clock of this Redis. */
const NOW = `local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;

const READY = `local function make_ready(stream, id, attempts)
  redis.call('XADD', stream, '*', 'id', id, 'attempts', attempts)
end
`;

/** Gives up a claim that is still held: true; false when it is held no longer. */
const UNCLAIM = `local function unclaim(stream, entry)
  if redis.call('XACK', stream, '${GROUP}', entry) == 0 then return false end
  redis.call('XDEL', stream, entry)
  return true
end
`;

/**
 * KEYS: deliveries and ready, for each endpoint. ARGV: for each delivery the endpoint's place
 * (from 1), id, packed. A delivery that is there already stays as it is.
 */
const ENQUEUE = `${READY}
for i = 1, #ARGV, 3 do
  local at = tonumber(ARGV[i]) * 2
  if redis.call('HSETNX', KEYS[at - 1], ARGV[i + 1], ARGV[i + 2]) == 1 then
    make_ready(KEYS[at], ARGV[i + 1], 0)
  end
end
return redis.status_reply('OK')`;

/**
 * KEYS: ready, deliveries, waiting, the replica's own. ARGV: replica, count, its life in
 * milliseconds. Makes ready what has waited long enough, then claims; a sign of life, too, so that
 * no claim is ever made by a replica that the others take for dead. Returns a list: milliseconds until the next wait is over (-1: none), and for each
 * claim the entry, the attempts made before, and the packed delivery.
 */
const CLAIM = `${NOW}${READY}
redis.call('SET', KEYS[4], '', 'PX', ARGV[3])
local due = redis.call('ZRANGE', KEYS[3], '-inf', now(), 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  local attempts, id = string.match(member, '^(%d+):(.*)$')
  redis.call('ZREM', KEYS[3], member)
  make_ready(KEYS[1], id, attempts)
end
local function read()
  return redis.pcall(
    'XREADGROUP', 'GROUP', '${GROUP}', ARGV[1], 'COUNT', ARGV[2], 'STREAMS', KEYS[1], '>')
end
local streams = read()
if streams and streams.err then
  redis.call('XGROUP', 'CREATE', KEYS[1], '${GROUP}', '0', 'MKSTREAM')
  streams = read()
end
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
return reply`;

/** KEYS: ready, deliveries. ARGV: entry and id of each. Returns how many claims were still held. */
const SETTLE_DONE = `${UNCLAIM}
local settled = 0
for i = 1, #ARGV, 2 do
  if unclaim(KEYS[1], ARGV[i]) then
    redis.call('HDEL', KEYS[2], ARGV[i + 1])
    settled = settled + 1
  end
end
return settled`;

/** KEYS: ready, waiting. ARGV: entry, member of waiting, milliseconds to wait. */
const SETTLE_RETRY = `${NOW}${UNCLAIM}
if not unclaim(KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[2], now() + ARGV[3], ARGV[2])
return 1`;

/**
 * KEYS: ready, deliveries, dead, dead-order. ARGV: entry, id, packed dead letter, how many dead
 * letters to keep. The oldest make room.
 */
const SETTLE_DEAD = `${NOW}${UNCLAIM}
if not unclaim(KEYS[1], ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[4], now(), ARGV[2])
local surplus = redis.call('ZCARD', KEYS[4]) - ARGV[4]
if surplus > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, surplus - 1)) do
    redis.call('HDEL', KEYS[3], id)
    redis.call('ZREM', KEYS[4], id)
  end
end
return 1`;

/** KEYS: ready. ARGV: entry, id, attempts made. Ready again, as if it had not been claimed. */
const RELEASE = `${READY}${UNCLAIM}
if not unclaim(KEYS[1], ARGV[1]) then return 0 end
make_ready(KEYS[1], ARGV[2], ARGV[3])
return 1`;

/**
 * KEYS: ready. ARGV: replica, the entries that it knows it holds. What else it is said to hold is
 * ready again, the attempt not counted, since it was not made. Returns how many.
 */
const GIVE_BACK = `${READY}${UNCLAIM}
local known = {}
for i = 2, #ARGV do known[ARGV[i]] = true end
local claims = redis.pcall('XPENDING', KEYS[1], '${GROUP}', '-', '+', 10000, ARGV[1])
if claims.err then return 0 end
local count = 0
for _, claim in ipairs(claims) do
  local entry = not known[claim[1]] and redis.call('XRANGE', KEYS[1], claim[1], claim[1])[1]
  if entry and unclaim(KEYS[1], claim[1]) then
    make_ready(KEYS[1], entry[2][2], entry[2][4])
    count = count + 1
  end
end
return count`;

/**
 * KEYS: ready, the key of a replica that is said to be dead. ARGV: its name, count. What it had
 * claimed becomes ready again, the attempt counted, unless it lives after all. Returns how many.
 */
const RECLAIM = `${READY}${UNCLAIM}
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local claims = redis.call('XPENDING', KEYS[1], '${GROUP}', '-', '+', ARGV[2], ARGV[1])
for _, claim in ipairs(claims) do
  local entry = redis.call('XRANGE', KEYS[1], claim[1], claim[1])[1]
  if unclaim(KEYS[1], claim[1]) and entry then
    make_ready(KEYS[1], entry[2][2], entry[2][4] + 1)
  end
end
if #claims < tonumber(ARGV[2]) then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '${GROUP}', ARGV[1])
end
return #claims`;

/**
 * KEYS: ready, deliveries. Returns the number of deliveries that are neither done nor dead, and
 * for how many milliseconds the oldest ready one has been ready (-1: none is).
 */
const DEPTH = `${NOW}
local pending = redis.call('HLEN', KEYS[2])
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
local last = '0-0'
if not groups.err then
  for _, group in ipairs(groups) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then last = group[i + 1] end
    end
  end
end
local oldest = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
if not oldest then return { pending, -1 } end
return { pending, math.max(0, now() - tonumber(string.match(oldest[1], '^%d+'))) }`;

/** KEYS: dead, dead-order, deliveries, ready. ARGV: id, packed delivery. 0: no such dead letter. */
const REPLAY = `${READY}
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HSETNX', KEYS[3], ARGV[1], ARGV[2]) == 1 then make_ready(KEYS[4], ARGV[1], 0) end
return 1`;

/** Replies hold Buffers in the place of strings. */
type Run = (
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<unknown>;

/** The scripts on a connection: sent once, then named by their digest, again after a restart. */
export class Scripts {
  readonly enqueue: Run;
  readonly claim: Run;
  readonly settleDone: Run;
  readonly settleRetry: Run;
  readonly settleDead: Run;
  readonly release: Run;
  readonly giveBack: Run;
  readonly reclaim: Run;
  readonly depth: Run;
  readonly replay: Run;

  constructor(redis: Redis) {
    this.enqueue = define(redis, 'outboxEnqueue', ENQUEUE);
    this.claim = define(redis, 'outboxClaim', CLAIM);
    this.settleDone = define(redis, 'outboxSettleDone', SETTLE_DONE);
    this.settleRetry = define(redis, 'outboxSettleRetry', SETTLE_RETRY);
    this.settleDead = define(redis, 'outboxSettleDead', SETTLE_DEAD);
    this.release = define(redis, 'outboxRelease', RELEASE);
    this.giveBack = define(redis, 'outboxGiveBack', GIVE_BACK);
    this.reclaim = define(redis, 'outboxReclaim', RECLAIM);
    this.depth = define(redis, 'outboxDepth', DEPTH);
    this.replay = define(redis, 'outboxReplay', REPLAY);
  }
}

function define(redis: Redis, name: string, lua: string): Run {
  redis.defineCommand(name, { lua });
  const commands = redis as unknown as Record<string, (...words: unknown[]) => Promise<unknown>>;
  return (keys, args) => {
    const command = commands[`${name}Buffer`];
    if (command === undefined) throw new Error(`no such script: ${name}`);
    return command.call(redis, keys.length, ...keys, ...args);
  };
}
