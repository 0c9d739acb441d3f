/**
 * The scripts of the lease, and the reply of a look. No clocks of two machines are compared. A replica measures by its
 * own monotonic clock how long the renewals have not changed. If that is too long, it passes their number to the script,
 * which takes the lease only if the number is still the same.
 *
 * A configuration gets a number when it first appears among the running replicas: when one starts, or reloads. The
 * highest number leads: its replicas take a free lease before all others, and are handed a lease that is held.
 */
import { NOW } from '../redis/scripts.js';
import { QUARANTINE, WHOLE } from './quarantine-scripts.js';
import { NAME } from './stored.js';

/** Relays of version 0.1 know the lease by a key with a life of its own. */
const LEGACY_MS = 1_500;

/** A relay of version 0.1 gives that key a shorter life. */
const LEGACY_MS_MAX = 10 * LEGACY_MS;

/** A token or a digest is shorter. */
const LEASE_FIELD_BYTES_MAX = 256;

/** Rows that one look moves to the quarantine: a few milliseconds' work for Redis. Later looks move the others. */
const MOVED_MAX = 100;

/** No deployment has as many replicas. A larger hash is deleted unread; each replica then writes its own row again. */
const ROWS_MAX = 1_000;

/** Replicas that began to listen within this time of each other have received the same: either may take the lease. */
const TOGETHER_MS = 100;

/**
 * A lease that is held is handed to a replica of a newer configuration, or to one that had no gap, once that has listened
 * for this long. So a replica that crashes again and again at its start never gets it.
 */
export const SUCCESSOR_AFTER_MS = 3_000;

/** The results of a look. */
export const STATUSES = {
  held: 0,
  /** Held, and a replica of a newer configuration, or one that has had no gap, is ready to take over. */
  due: 1,
  /** Another replica holds it. */
  other: 2,
  /**
   * Free, and left to another replica that has listened for longer or has a newer configuration. Or this replica had
   * lost the lease unnoticed: the next look may take it, under a new token.
   */
  left: 3,
  /** Free, and this replica cannot capture. */
  idle: 4,
} as const;

/** Lua: moves the fields of the lease that no relay has written to the quarantine. */
const LEASE_FIELDS = `local function check_lease(lease, into)
  local patterns = { token = '^[%w_-]+:%d+$', digest = '^%x+$' }
  for _, field in ipairs({ 'token', 'generation', 'digest', 'renewals', 'renewed_at', 'number', 'numbers' }) do
    local value = redis.call('HGET', lease, field)
    local pattern = patterns[field]
    local is_ours = not value or #value <= ${LEASE_FIELD_BYTES_MAX} and
      (pattern and string.match(value, pattern) or not pattern and whole(value))
    if not is_ours then
      quarantine(into, lease, 'field', field, value, 'not the ' .. field .. ' of a lease')
      redis.call('HDEL', lease, field)
    end
  end
end
`;

/**
 * KEYS: lease, configurations, watch, quarantine. ARGV: token; replica; digest of its configuration; its endpoints; the
 * number that its configuration had (0: none); for how many milliseconds the replica has been able to capture (-1: it is
 * not); 1 if the replica leaves the lease to one that has been able to for longer; the renewals that it has seen
 * unchanged for as long as a lease lasts (or ''); 1 if it holds the lease under this token as far as it knows; the number
 * of replicas that it takes for absent; name and looks of each; name and looks of each replica to forget. Redis allows
 * the first write at maxmemory, and then allows the others. Returns see `readLook`.
 *
 * A holder that was suspended, or whose looks failed, may find the lease free again after another replica has held it.
 * The other replica has captured the events of that time, so this one must not continue under its old token. If there are
 * no renewals, the state was emptied, and nobody else has held the lease since. The generation is the time at which the
 * lease was taken, or more: it increases even after the state was emptied.
 */
const LOOK = `${NOW}${QUARANTINE}${WHOLE}${LEASE_FIELDS}
local token, replica, digest = ARGV[1], ARGV[2], ARGV[3]
local able_for, stale = tonumber(ARGV[6]), ARGV[8]
local at = now()
local absent, forgotten = {}, {}
local first_forgotten = 11 + 2 * tonumber(ARGV[10])
for i = 11, first_forgotten - 1, 2 do absent[ARGV[i]] = ARGV[i + 1] end
for i = first_forgotten, #ARGV, 2 do forgotten[ARGV[i]] = ARGV[i + 1] end

redis.call('HDEL', KEYS[1], '')
check_lease(KEYS[1], KEYS[4])
local others, moved, number, looks, same = {}, 0, nil, 0, nil
local count = redis.call('HLEN', KEYS[2])
if count > ${ROWS_MAX} then
  quarantine(KEYS[4], KEYS[2], 'deleted_key', '', '', count .. ' rows: more than any relay writes')
  redis.call('UNLINK', KEYS[2])
end
local rows = redis.call('HGETALL', KEYS[2])
for i = 1, #rows, 2 do
  local name = rows[i]
  local its_number, its_digest, since, its_looks =
    string.match(rows[i + 1], '^(%d+) (%x+) (%-?%d+) (%d+)$')
  local is_ours = whole(its_number) and whole(its_looks) and string.match(name, '^[%w_-]+$')
  if not is_ours then
    moved = moved + 1
    if moved <= ${MOVED_MAX} then
      quarantine(KEYS[4], KEYS[2], 'field', name, rows[i + 1], 'expected number, digest, since and looks')
      redis.call('HDEL', KEYS[2], name)
    end
  elseif forgotten[name] == its_looks then
    redis.call('HDEL', KEYS[2], name)
  elseif name == replica then
    looks = tonumber(its_looks)
    if its_digest == digest then number = tonumber(its_number) end
  else
    others[#others + 1] = {
      name = name, number = tonumber(its_number), digest = its_digest, looks = its_looks,
      since = tonumber(since), is_present = absent[name] ~= its_looks,
    }
    if its_digest == digest then same = tonumber(its_number) end
  end
end
local numbers = tonumber(redis.call('HGET', KEYS[1], 'numbers')) or 0
if not number and ARGV[5] ~= '0' then number = tonumber(ARGV[5]) end
number = number or same or whole(string.format('%d', numbers + 1)) or 1
if number > numbers then redis.call('HSET', KEYS[1], 'numbers', number) end
local since = able_for < 0 and -1 or at - able_for
redis.call(
  'HSET', KEYS[2], replica, string.format('%d %s %d %d', number, digest, since, looks + 1))

local lease = redis.call(
  'HMGET', KEYS[1], 'token', 'renewals', 'renewed_at', 'number', 'digest', 'endpoints')
local holder = lease[1]
local legacy = redis.call('GET', KEYS[3])
local legacy_left = legacy and redis.call('PTTL', KEYS[3]) or 0
if legacy and (legacy_left < 0 or legacy_left > ${LEGACY_MS_MAX}) then
  quarantine(KEYS[4], KEYS[3], 'string', '', legacy, 'expected a life of at most ${LEGACY_MS_MAX} ms')
  redis.call('DEL', KEYS[3])
  legacy = false
end
local is_legacy = legacy and legacy ~= holder and legacy ~= token
local is_mine = holder == token
local is_free = not is_legacy and (not holder or not lease[2] or (stale ~= '' and lease[2] == stale))

local function reply(status)
  local holder_number = not is_legacy and holder and tonumber(lease[4]) or -1
  local endpoints = ''
  if holder and not is_legacy and lease[5] ~= digest then endpoints = lease[6] or '' end
  local age = at - (tonumber(lease[3]) or 0)
  local renewals = is_legacy and 'legacy' or lease[2] or ''
  if is_legacy then age = ${LEGACY_MS} - legacy_left end
  local generation = redis.call('HGET', KEYS[1], 'generation') or ''
  local result = { status, number, holder_number, renewals, string.format('%d', age), generation, endpoints }
  for _, other in ipairs(others) do
    result[#result + 1] = other.name
    result[#result + 1] = other.looks
    result[#result + 1] = other.digest
  end
  return result
end

local function hold(status)
  local former = tonumber(redis.call('HGET', KEYS[1], 'generation'))
  if not is_mine or not former then
    redis.call('HSET', KEYS[1], 'generation', string.format('%d', math.max((former or 0) + 1, at)))
  end
  redis.call(
    'HSET', KEYS[1], 'token', token, 'number', number, 'digest', digest, 'endpoints', ARGV[4],
    'renewals', (tonumber(lease[2]) or 0) + 1, 'renewed_at', at)
  redis.call('SET', KEYS[3], token, 'PX', ${LEGACY_MS})
  lease = redis.call(
    'HMGET', KEYS[1], 'token', 'renewals', 'renewed_at', 'number', 'digest', 'endpoints')
  holder = token
  return reply(status)
end

local function listens_longer(other)
  return other.number == number and ARGV[7] == '1' and other.since + ${TOGETHER_MS} < since
end

if is_mine and not is_legacy then
  for _, other in ipairs(others) do
    local is_able = other.is_present and other.since >= 0 and at - other.since >= ${SUCCESSOR_AFTER_MS}
    if is_able and (other.number > number or listens_longer(other)) then
      return hold(${STATUSES.due})
    end
  end
  return hold(${STATUSES.held})
end
if not is_free then return reply(${STATUSES.other}) end
if ARGV[9] == '1' and lease[2] then return reply(${STATUSES.left}) end
if able_for < 0 then return reply(${STATUSES.idle}) end
for _, other in ipairs(others) do
  local is_able = other.is_present and other.since >= 0
  if is_able and (other.number > number or listens_longer(other)) then
    return reply(${STATUSES.left})
  end
end
return hold(${STATUSES.held})`;

/** KEYS: lease, watch. ARGV: token. */
const LET_GO = `if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then redis.call('HDEL', KEYS[1], 'token') end
return redis.status_reply('OK')`;

/** KEYS: configurations. ARGV: replica. */
const DEPART = `return redis.call('HDEL', KEYS[1], ARGV[1])`;

export const LEASE_SCRIPTS = { leaseLook: LOOK, leaseLetGo: LET_GO, leaseDepart: DEPART } as const;

/** Another replica, as a look finds it. */
export interface OtherReplica {
  readonly name: string;
  /** How often it has looked: a replica that runs looks twice a second. */
  readonly looks: string;
  /** Of its configuration. */
  readonly digest: string;
}

export interface Look {
  readonly status: (typeof STATUSES)[keyof typeof STATUSES];
  /** Of this replica's configuration. */
  readonly number: number;
  /** Of the holder's; null when nobody holds the lease, or a relay of version 0.1 does. */
  readonly holderNumber: number | null;
  /** Changes each time that the holder renews the lease; empty when there never was one. */
  readonly renewals: string;
  /** How long ago it was renewed, by a clock that may have been set. */
  readonly ageMs: number;
  /** The lease's generation; null if no replica has held the lease yet. */
  readonly generation: number | null;
  /** The holder's endpoints, by name, with a digest of each URL; null when they are this replica's own. */
  readonly endpoints: ReadonlyMap<string, string> | null;
  readonly others: readonly OtherReplica[];
}

export function readLook(reply: unknown): Look {
  const [status, number, holder, ...texts] = reply as [Look['status'], number, number, ...Buffer[]];
  const [renewals = '', ageMs = '', generation = '', endpoints = '', ...rows] = texts.map(String);
  const others: OtherReplica[] = [];
  for (let at = 0; at + 2 < rows.length; at += 3) {
    const [name = '', looks = '', digest = ''] = rows.slice(at, at + 3);
    others.push({ name, looks, digest });
  }
  return {
    status,
    number,
    holderNumber: holder < 0 ? null : holder,
    renewals,
    ageMs: Number(ageMs),
    generation: generation === '' ? null : Number(generation),
    endpoints: endpoints === '' ? null : endpointsOf(endpoints),
    others,
  };
}

/** Names and digests of URLs, each pair on a line of its own. */
export function endpointsText(endpoints: ReadonlyMap<string, string>): string {
  return Array.from(endpoints, ([name, digest]) => `${digest} ${name}`).join('\n');
}

function endpointsOf(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const [, digest = '', name = ''] = /^([0-9a-f]+) (.*)$/.exec(line) ?? [];
      return NAME.test(name) ? [[name, digest]] : [];
    }),
  );
}
