/** What a Redis says of itself → what that means for the relay. Pure. */

import { printable } from '../printable.js';
import { addressOf, replicaAdvice } from '../redis-client.js';
import type { RedisAddress } from '../vocabulary.js';
import { type Finding, note, ok, problem, warning } from './finding.js';
import type { ServerReading } from './server.js';
import { countText, lengthText, sizeText } from './wording.js';

/** The first that tells of renamed and copied keys, and has the commands of the state. */
const VERSION_MIN = [6, 2] as const;

/** More is a clock that nobody sets. */
const CLOCK_APART_MS_MAX = 60_000;

/** Whether a server is at least of this version; null when it does not say its own. */
export function isAtLeast(
  version: string | null,
  [major, minor]: readonly [number, number],
): boolean | null {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (first === undefined || second === undefined) return null;
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

export function judgeAnswer(
  reading: ServerReading,
  address: RedisAddress,
  subject: string,
): Finding {
  const { software, version, roundTripMs } = reading;
  const name = software === 'redis' ? 'Redis' : printable(software);
  const secure = address.path !== null ? 'Unix socket' : address.tls ? 'TLS' : 'no TLS';
  return ok(
    subject,
    `${addressOf(address)} answers within ${lengthText(roundTripMs)} ` +
      `(${name} ${printable(version ?? 'of a version that it does not tell')}, ${secure})`,
  );
}

/** Of the Redis that holds the keys. */
export function judgeServer(reading: ServerReading, address: RedisAddress): Finding[] {
  return [
    judgeAnswer(reading, address, 'redis'),
    ...judgeVersion(reading, 'version'),
    judgeRole(reading, address),
    ...judgeCluster(reading),
    judgeClock(reading),
  ];
}

export function judgeVersion({ version }: ServerReading, subject: string): Finding[] {
  if (isAtLeast(version, VERSION_MIN) !== false) return [];
  const found = printable(version ?? '');
  const text = `expected Redis ${VERSION_MIN.join('.')} or later, found ${found}`;
  return [problem(subject, text, 'upgrade the server')];
}

function judgeRole({ role, primary }: ServerReading, address: RedisAddress): Finding {
  const subject = 'role';
  if (role === null) return note(subject, 'the server does not tell whether it is a primary');
  if (role === 'primary') return ok(subject, 'a primary: it says when keys expire');
  const other = printable(primary ?? 'a server that it does not name');
  return problem(subject, replicaAdvice(addressOf(address), other), null);
}

function judgeCluster({ isCluster }: ServerReading): Finding[] {
  if (!isCluster) return [];
  return [
    warning(
      'cluster',
      'Cluster mode: the relay listens to this one primary, and hears nothing of keys on others',
      'run one relay for each primary, each with a state.prefix whose slot is there',
    ),
  ];
}

function judgeClock({ clockAheadMs }: ServerReading): Finding {
  const subject = 'clock';
  if (clockAheadMs === null) {
    const advice = "allow the user +time; without it deadlines are taken to be by this machine's";
    return note(subject, "the server's time may not be asked", advice);
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

/** Whether keys may be thrown away before their deadlines. */
export function judgeEviction({ info }: ServerReading): Finding {
  const subject = 'eviction';
  const found = evictionOf(info);
  if (found === null) return note(subject, 'cannot be told: INFO is forbidden');
  const { policy, limit, evicted } = found;
  if (limit === null) return ok(subject, 'none: no maxmemory is set');
  if (policy === 'noeviction') return ok(subject, `none: noeviction, at ${limit}`);
  return warning(
    subject,
    `${policy} at ${limit} (${countText(evicted)} evicted so far): a key that is evicted before ` +
      'its deadline causes no webhook',
    'use maxmemory-policy noeviction, or give it memory enough',
  );
}

/** Of the Redis that holds the state, whose keys have no TTL. */
export function judgeStateEviction({ info }: ServerReading): Finding {
  const subject = 'state eviction';
  const found = evictionOf(info);
  if (found === null) return note(subject, 'cannot be told: INFO is forbidden');
  const { policy, limit } = found;
  if (limit === null) return ok(subject, 'none: no maxmemory is set');
  if (!policy.startsWith('allkeys-')) {
    return ok(subject, `${policy} at ${limit}: what the relay keeps there stays`);
  }
  return warning(
    subject,
    `${policy} at ${limit} lets Redis throw away what the relay keeps there: webhooks may be lost`,
    'use maxmemory-policy noeviction, or a volatile-* policy',
  );
}

function evictionOf(info: ServerReading['info']) {
  if (info === null) return null;
  const maxmemory = Number(info.get('maxmemory') ?? 0);
  return {
    policy: printable(info.get('maxmemory_policy') ?? 'noeviction'),
    limit: maxmemory === 0 ? null : sizeText(maxmemory),
    evicted: Number(info.get('evicted_keys') ?? 0),
  };
}

/** What a crash of the state Redis would cost. */
export function judgePersistence({ info, settings }: ServerReading): Finding {
  const subject = 'state on disk';
  if (info === null) return note(subject, 'cannot be told: INFO is forbidden');
  const [aof, rdb] = [info.get('aof_last_write_status'), info.get('rdb_last_bgsave_status')];
  const isOn = info.get('aof_enabled') === '1';
  const advice = 'give that server CONFIG SET appendonly yes, and put it into its redis.conf';
  if ((isOn && aof === 'err') || rdb === 'err') {
    const found = 'Redis could not write its disk the last time, and may refuse to store anything';
    return problem(subject, found, 'see its log, and its disk');
  }
  if (isOn)
    return ok(subject, 'appendonly yes: a crash of Redis loses a second at most by default');
  const save = settings.get('save') ?? null;
  if (save === '') {
    const found =
      'nothing is kept there: a restart of Redis loses deadlines, webhooks that wait, and dead ' +
      'letters';
    return warning(subject, found, advice);
  }
  const when = save === null ? '' : ` (save ${printable(save)})`;
  return warning(
    subject,
    `snapshots alone${when}: a crash of Redis loses the deadlines, webhooks and dead letters since ` +
      'the last',
    advice,
  );
}
