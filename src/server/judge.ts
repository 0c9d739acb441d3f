/**
 * What a Redis says of itself → what that means for the relay. `run` logs the warnings and problems,
 * `doctor` prints all. Pure.
 */
import { printable } from '../printable.js';
import { addressOf, PING_EVERY_MS, replicaAdvice } from '../redis-client.js';
import type { RedisAddress } from '../vocabulary.js';
import { type Finding, note, ok, problem, warning } from './finding.js';
import type { ServerProperties, Setting } from './properties.js';
import { countText, lengthText, sizeText } from './wording.js';

/** What `run` and `doctor` say of a server. */
export type ServerSubject =
  | 'version'
  | 'role'
  | 'cluster'
  | 'clock'
  | 'idle timeout'
  | 'output limit'
  | 'eviction'
  | 'state version'
  | 'state eviction'
  | 'state on disk';

export type ServerFinding = Finding<ServerSubject>;

/** The first that tells of renamed and copied keys, and has the commands of the state. */
const VERSION_MIN = [6, 2] as const;

/** More is a clock that nobody sets. */
const CLOCK_APART_MS_MAX = 60_000;

/** The share of maxmemory from which on a server is about to evict, or to refuse writes. */
const NEARLY_FULL = 0.9;

/** The connections of the relay show activity this often, with a second for a slow answer. */
const ACTIVE_WITHIN_MS = PING_EVERY_MS + 1_000;

/** What Redis allows by default to a client that subscribes: 32 MiB, or 8 MiB for a minute. */
const OUTPUT_BYTES_DEFAULT = { hard: 32 * 1024 ** 2, soft: 8 * 1024 ** 2 } as const;

/** About what one notification of a key with a name of ordinary length takes there. */
const NOTIFICATION_BYTES = 150;

/** Whether a server is at least of this version; null when it does not say its own. */
export function isAtLeast(
  version: string | null,
  [major, minor]: readonly [number, number],
): boolean | null {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (first === undefined || second === undefined) return null;
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

/** Of the Redis that holds the keys. `clockAheadMs`: this machine's clock minus the server's. */
export function judgeServer(
  properties: ServerProperties,
  address: RedisAddress,
  clockAheadMs: number | null,
): ServerFinding[] {
  return [
    ...judgeVersion(properties, 'version'),
    judgeRole(properties, address),
    ...judgeCluster(properties),
    judgeClock(clockAheadMs),
    ...judgeIdleTimeout(properties),
    ...judgeOutputLimit(properties),
    judgeEviction(properties),
  ];
}

/** Of the Redis that holds the state. `section`: of the file; where that is `redis`, the server is the one above. */
export function judgeStateServer(
  properties: ServerProperties,
  section: 'redis' | 'state',
): ServerFinding[] {
  return [
    ...(section === 'redis' ? [] : judgeVersion(properties, 'state version')),
    judgeStateEviction(properties),
    judgePersistence(properties),
  ];
}

function judgeVersion(
  { version }: ServerProperties,
  subject: 'version' | 'state version',
): ServerFinding[] {
  if (isAtLeast(version, VERSION_MIN) !== false) return [];
  const found = printable(version ?? '');
  const text = `expected Redis ${VERSION_MIN.join('.')} or later, found ${found}`;
  return [problem(subject, text, 'upgrade the server')];
}

function judgeRole({ role, primary }: ServerProperties, address: RedisAddress): ServerFinding {
  const subject = 'role';
  if (role === 'primary') return ok(subject, 'a primary: it says when keys expire');
  if (role === 'replica') {
    return problem(subject, replicaText(primary, address), null);
  }
  return warning(
    subject,
    'cannot be told (neither ROLE, INFO replication nor HELLO says it): a replica is recognized ' +
      'only when the canary cannot be written',
    `see that ${addressOf(address)} is a primary; allow the user +role or +info`,
  );
}

/** Why a replica is not listened to. `primary`: null when it is not shown. */
export function replicaText(primary: string | null, address: RedisAddress): string {
  return replicaAdvice(addressOf(address), printable(primary ?? 'a server that it does not name'));
}

function judgeCluster({ isCluster, primaries }: ServerProperties): ServerFinding[] {
  if (!isCluster || primaries === 1) return [];
  const size = primaries === null ? '' : ` (cluster_size is ${primaries})`;
  return [
    warning(
      'cluster',
      'this Redis is a node of a Redis Cluster: the relay hears nothing of keys on other ' +
        `primaries${size}`,
      'Run one relay for each primary, each with a state.prefix whose slot is there (redis-cli ' +
        "CLUSTER KEYSLOT '{prefix}' tells it)",
    ),
  ];
}

function judgeClock(clockAheadMs: number | null): ServerFinding {
  const subject = 'clock';
  if (clockAheadMs === null) {
    return warning(
      subject,
      "the server's time cannot be read: deadlines are taken to be by this machine's clock, and " +
        'are missed by as much as the two differ',
      'allow the user +time, or let both machines set their clocks by the network (NTP)',
    );
  }
  const apartMs = Math.abs(clockAheadMs);
  if (apartMs <= CLOCK_APART_MS_MAX) {
    return ok(subject, `this machine's is within ${lengthText(Math.max(1, apartMs))} of Redis's`);
  }
  const side = clockAheadMs > 0 ? 'ahead of' : 'behind';
  return warning(
    subject,
    `this machine's is ${lengthText(apartMs)} ${side} Redis's: webhooks carry its time, and ` +
      'receivers refuse one more than 5 min from theirs; deadlines are by Redis, and not affected',
    'let both machines set their clocks by the network (NTP)',
  );
}

/** Whether the server closes connections that are idle. */
function judgeIdleTimeout({ settings }: ServerProperties): ServerFinding[] {
  const seconds = Number(settings.get('timeout') ?? 0);
  if (seconds === 0) return [];
  const subject = 'idle timeout';
  const found = `Redis closes connections that are idle for ${seconds} s (timeout)`;
  if (seconds * 1_000 > ACTIVE_WITHIN_MS) {
    return [ok(subject, `${found}: the relay's are never idle for so long`)];
  }
  const advice = `set timeout to 0, or to ${Math.ceil(ACTIVE_WITHIN_MS / 1_000) + 1} or more`;
  return [warning(subject, `${found}: the relay connects again and again`, advice)];
}

/** How many notifications may wait for the relay before the server cuts its connection. */
function judgeOutputLimit({ settings }: ServerProperties): ServerFinding[] {
  const shown = settings.get('client-output-buffer-limit') ?? '';
  const [, hardText, softText, seconds] = /pubsub (\d+) (\d+) (\d+)/.exec(shown) ?? [];
  if (hardText === undefined) return [];
  const [hard, soft] = [Number(hardText), Number(softText)];
  const isLess = (limit: number, than: number) => limit !== 0 && limit < than;
  const isSmall =
    isLess(hard, OUTPUT_BYTES_DEFAULT.hard) ||
    (Number(seconds) > 0 && isLess(soft, OUTPUT_BYTES_DEFAULT.soft));
  if (!isSmall) return [];
  const least = Math.min(...[hard, soft].filter((limit) => limit !== 0));
  const count = countText(Math.floor(least / NOTIFICATION_BYTES));
  return [
    warning(
      'output limit',
      `client-output-buffer-limit pubsub ${hard} ${soft} ${seconds}, less than the default: Redis ` +
        `cuts the relay's connection when about ${count} notifications wait for it, which is a gap`,
      "set client-output-buffer-limit to 'pubsub 32mb 8mb 60' or more",
    ),
  ];
}

/** Whether keys may be thrown away before their deadlines. */
function judgeEviction(properties: ServerProperties): ServerFinding {
  const subject = 'eviction';
  const found = memoryOf(properties);
  if (found === null) return untold(subject);
  const { policy, limit, evicted, fullness } = found;
  if (limit === null) return ok(subject, 'none: no maxmemory is set');
  if (policy === 'noeviction') return ok(subject, `none: noeviction, at ${limit}`);
  const isEvicting = evicted > 0 || fullness >= NEARLY_FULL;
  const say = isEvicting ? warning : note;
  return say(
    subject,
    `${policy} at ${limit} (${percentText(fullness)} used, ${countText(evicted)} evicted so far): a ` +
      'key that is evicted before its deadline causes no webhook',
    'use maxmemory-policy noeviction, or give it memory enough',
  );
}

/** Of the Redis that holds the state, whose keys have no TTL. */
function judgeStateEviction(properties: ServerProperties): ServerFinding {
  const subject = 'state eviction';
  const found = memoryOf(properties);
  if (found === null) return untold(subject);
  const { policy, limit, fullness } = found;
  if (limit === null) return ok(subject, 'none: no maxmemory is set');
  if (policy.startsWith('allkeys-')) {
    return warning(
      subject,
      `${policy} at ${limit} lets Redis throw away what the relay keeps there: webhooks may be lost`,
      'use maxmemory-policy noeviction, or a volatile-* policy',
    );
  }
  if (fullness >= NEARLY_FULL) {
    return warning(
      subject,
      `${policy} at ${limit}, ${percentText(fullness)} used: when it is full, Redis may refuse to ` +
        'store what expires, and the relay holds a limited number of expirations in its memory',
      'give it more memory',
    );
  }
  const why = policy === 'noeviction' ? '' : ' (it has no TTL)';
  return ok(subject, `${policy} at ${limit}: what the relay keeps there stays${why}`);
}

function percentText(share: number): string {
  return `${Math.floor(share * 100)}%`;
}

function untold(subject: ServerSubject): ServerFinding {
  return note(
    subject,
    'cannot be told: INFO and CONFIG GET may not be asked',
    'allow the user +info to have it looked at',
  );
}

interface Memory {
  readonly policy: string;
  /** Of maxmemory, as text; null when there is none. */
  readonly limit: string | null;
  readonly evicted: number;
  /** The share of maxmemory that is used; 0 when that is not shown. */
  readonly fullness: number;
}

/** Null when the server does not say. */
function memoryOf({ info, settings }: ServerProperties): Memory | null {
  const said = (field: string, setting: Setting) => info?.get(field) ?? settings.get(setting);
  const limitText = said('maxmemory', 'maxmemory');
  const policy = said('maxmemory_policy', 'maxmemory-policy');
  if (limitText === undefined || policy === undefined) return null;
  const limit = Number(limitText);
  return {
    policy: printable(policy),
    limit: limit === 0 ? null : sizeText(limit),
    evicted: Number(info?.get('evicted_keys') ?? 0),
    fullness: limit === 0 ? 0 : Number(info?.get('used_memory') ?? 0) / limit,
  };
}

/** What a crash of the state Redis would cost. */
function judgePersistence({ info, settings }: ServerProperties): ServerFinding {
  const subject = 'state on disk';
  const [aof, rdb] = [info?.get('aof_last_write_status'), info?.get('rdb_last_bgsave_status')];
  const isOnText = info?.get('aof_enabled') ?? settings.get('appendonly') ?? null;
  const save = settings.get('save') ?? null;
  if (isOnText === null) return untold(subject);
  const isOn = /^(1|yes)$/.test(isOnText);
  const advice = 'give that server CONFIG SET appendonly yes, and put it into its redis.conf';
  if ((isOn && aof === 'err') || rdb === 'err') {
    const found = 'Redis could not write its disk the last time, and may refuse to store anything';
    return problem(subject, found, 'see its log, and its disk');
  }
  if (isOn)
    return ok(subject, 'appendonly yes: a crash of Redis loses a second at most by default');
  if (save === '') {
    const found =
      'nothing is kept there: a restart of Redis loses deadlines, webhooks that wait, and dead ' +
      'letters';
    return warning(subject, found, advice);
  }
  const [found, since] =
    save === null
      ? ['appendonly no, and save is not shown', 'the last snapshot, or all of them']
      : [`snapshots alone (save ${printable(save)})`, 'the last'];
  return warning(
    subject,
    `${found}: a crash of Redis loses the deadlines, webhooks and dead letters since ${since}`,
    advice,
  );
}
