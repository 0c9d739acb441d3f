/**
 * A Redis server's properties → their effect on the relay. `run` logs the warnings and problems, `doctor` prints
 * all. Pure.
 */
import { printable } from '../lib/printable.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf, replicaText } from '../redis/client.js';
import { PING_EVERY_MS } from '../redis/connect.js';
import { type Finding, note, ok, problem, type ServerFinding, warning } from './finding.js';
import { judgeEviction, judgePersistence, judgeStateEviction } from './judge-storage.js';
import type { ServerProperties } from './properties.js';
import { countText, lengthText } from './wording.js';

/** The first version with events for renamed and copied keys, and with the state's commands. */
const VERSION_MIN = [6, 2] as const;

/** A larger difference means that one of the clocks is not synchronized. */
const CLOCK_APART_MS_MAX = 60_000;

/** The relay's connections are active this often, plus a second for a slow reply. */
const ACTIVE_WITHIN_MS = PING_EVERY_MS + 1_000;

/** Redis's default limits for a subscriber: 32 MiB, or 8 MiB for a minute. */
const OUTPUT_BYTES_DEFAULT = { hard: 32 * 1024 ** 2, soft: 8 * 1024 ** 2 } as const;

/** Approximate buffer size of one notification with a key of ordinary length. */
const NOTIFICATION_BYTES = 150;

/** Whether a server has at least this version; null when its version is unknown. */
export function isAtLeast(
  version: string | null,
  [major, minor]: readonly [number, number],
): boolean | null {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (first === undefined || second === undefined) return null;
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

/** The Valkey version that first publishes `expired` for keys removed by commands; see docs/operations/redis.md. */
const PUBLISHES_REMOVALS_MIN = [8, 1] as const;

/** Whether the server publishes `expired` for keys that commands remove. */
export function publishesRemovals({ info }: Pick<ServerProperties, 'info'>): boolean {
  return isAtLeast(info?.get('valkey_version') ?? null, PUBLISHES_REMOVALS_MIN) === true;
}

/** For the Redis that holds the keys. `clockAheadMs`: this machine's clock minus the server's. */
export function judgeServer(
  properties: ServerProperties,
  address: RedisAddress,
  clockAheadMs: number | null,
): ServerFinding[] {
  return [
    ...judgeVersion(properties, 'version'),
    judgeRole(properties, address),
    ...(address.cluster === null ? judgeCluster(properties, address) : []),
    judgeClock(clockAheadMs),
    ...judgeIdleTimeout(properties),
    ...judgeOutputLimit(properties),
    judgeEviction(properties),
  ];
}

/** For the Redis that holds the state. `section` of the configuration: `redis` means the keys' server. */
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
  if (role === 'primary') return ok(subject, 'primary');
  if (role === 'replica') {
    return problem(subject, replicaText(address, primary), null);
  }
  return warning(
    subject,
    'unknown (ROLE, INFO replication and HELLO do not report it): a replica is detected only when the ' +
      'canary cannot be written',
    `verify that ${addressOf(address)} is a primary; grant +role or +info to the user`,
  );
}

function judgeCluster(
  { isCluster, primaries }: ServerProperties,
  address: RedisAddress,
): ServerFinding[] {
  if (!isCluster) return [];
  // A cluster node without slots counts no primaries.
  if (primaries !== null && primaries <= 1) {
    return [note('cluster', 'node of a Redis Cluster with one primary')];
  }
  const size = primaries === null ? '' : ` (cluster_size is ${primaries})`;
  return [
    warning(
      'cluster',
      'node of a Redis Cluster: the relay receives no notifications of keys on other ' +
        `primaries${size}`,
      `replace redis.url with redis: {cluster: {nodes: ["${addressOf(address)}"]}}: the relay then watches all ` +
        'primaries',
    ),
  ];
}

function judgeClock(clockAheadMs: number | null): ServerFinding {
  const subject = 'clock';
  if (clockAheadMs === null) {
    return warning(
      subject,
      'unknown, as TIME cannot be run: the relay uses the local clock for deadlines, which are wrong by the ' +
        'difference between the clocks',
      'grant +time to the user; if the server lacks TIME, synchronize both clocks with NTP',
    );
  }
  const apartMs = Math.abs(clockAheadMs);
  if (apartMs <= CLOCK_APART_MS_MAX) {
    return ok(
      subject,
      `the local clock is within ${lengthText(Math.max(1, apartMs))} of the Redis clock`,
    );
  }
  const side = clockAheadMs > 0 ? 'ahead of' : 'behind';
  return warning(
    subject,
    `the local clock is ${lengthText(apartMs)} ${side} the Redis clock: receivers reject webhooks whose ` +
      'timestamp is off by more than 5 min; deadlines use the Redis clock and are not affected',
    'synchronize both clocks with NTP',
  );
}

/** A configured database that the server does not have. */
export function judgeNoDatabase(database: number, address: RedisAddress): Finding {
  return problem(
    `database ${database}`,
    `Redis at ${addressOf(address)} has no database ${database}`,
    'correct redis.databases (a Redis Cluster has only database 0), or raise `databases` in redis.conf',
  );
}

/** Whether the server closes idle connections. */
function judgeIdleTimeout({ settings }: ServerProperties): ServerFinding[] {
  const seconds = Number(settings.get('timeout') ?? 0);
  if (seconds === 0) return [];
  const subject = 'idle timeout';
  const found = `Redis closes connections that are idle for ${seconds} s (timeout)`;
  if (seconds * 1_000 > ACTIVE_WITHIN_MS) {
    return [ok(subject, `${found}: the relay's are never idle that long`)];
  }
  const advice = `set timeout to 0, or to ${Math.ceil(ACTIVE_WITHIN_MS / 1_000) + 1} or more`;
  return [warning(subject, `${found}: the relay reconnects again and again`, advice)];
}

/** How many notifications the server buffers before it closes the relay's connection. */
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
      `client-output-buffer-limit pubsub ${hard} ${soft} ${seconds}, less than the default: Redis closes ` +
        `the relay's connection when about ${count} notifications are buffered, and expirations may be missed`,
      "set client-output-buffer-limit to 'pubsub 32mb 8mb 60' or more",
    ),
  ];
}
