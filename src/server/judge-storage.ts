/** A Redis server's memory and persistence settings → possible data loss. Pure. */
import { printable } from '../lib/printable.js';
import { note, ok, problem, type ServerFinding, type ServerSubject, warning } from './finding.js';
import type { ServerProperties, Setting } from './properties.js';
import { countText, sizeText } from './wording.js';

/** The share of maxmemory at which a server will soon evict keys or reject writes. */
const NEARLY_FULL = 0.9;

/** Whether keys may be evicted before their deadlines. */
export function judgeEviction(properties: ServerProperties): ServerFinding {
  const subject = 'eviction';
  const found = memoryOf(properties);
  if (found === null) return unknownFinding(subject);
  const { policy, limit, evicted, fullness } = found;
  if (limit === null) return ok(subject, 'off (maxmemory is not set)');
  if (policy === 'noeviction') return ok(subject, `off (noeviction with maxmemory ${limit})`);
  const isEvicting = evicted > 0 || fullness >= NEARLY_FULL;
  const say = isEvicting ? warning : note;
  return say(
    subject,
    `${policy} with maxmemory ${limit} (${percentText(fullness)} used, ${countText(evicted)} keys evicted so ` +
      'far): keys that are evicted before their deadlines send no webhook',
    'set maxmemory-policy noeviction, or raise maxmemory',
  );
}

/** For the Redis that holds the state, whose keys have no TTL. */
export function judgeStateEviction(properties: ServerProperties): ServerFinding {
  const subject = 'state eviction';
  const found = memoryOf(properties);
  if (found === null) return unknownFinding(subject);
  const { policy, limit, fullness } = found;
  if (limit === null) return ok(subject, 'off (maxmemory is not set)');
  if (policy.startsWith('allkeys-')) {
    return warning(
      subject,
      `${policy} with maxmemory ${limit} may evict the relay's state: webhooks may be lost`,
      'set maxmemory-policy noeviction, or a volatile-* policy',
    );
  }
  if (fullness >= NEARLY_FULL) {
    return warning(
      subject,
      `${policy} with maxmemory ${limit}, ${percentText(fullness)} used: a full Redis rejects writes, and the ` +
        'relay buffers a limited number of expirations',
      'raise maxmemory',
    );
  }
  const cause = policy === 'noeviction' ? '' : ' (it has no TTL)';
  return ok(subject, `${policy} with maxmemory ${limit}: the relay's state is not evicted${cause}`);
}

function percentText(share: number): string {
  return `${Math.floor(share * 100)}%`;
}

function unknownFinding(subject: ServerSubject): ServerFinding {
  return note(
    subject,
    'unknown: no permission to run INFO or CONFIG GET',
    'grant +info to the user',
  );
}

interface Memory {
  readonly policy: string;
  /** The value of maxmemory, as text; null when there is none. */
  readonly limit: string | null;
  readonly evicted: number;
  /** The used share of maxmemory; 0 when unknown. */
  readonly fullness: number;
}

/** Null when the server does not show its memory. */
function memoryOf({ info, settings }: ServerProperties): Memory | null {
  const read = (field: string, setting: Setting) => info?.get(field) ?? settings.get(setting);
  const limitText = read('maxmemory', 'maxmemory');
  const policy = read('maxmemory_policy', 'maxmemory-policy');
  if (limitText === undefined || policy === undefined) return null;
  const limit = Number(limitText);
  return {
    policy: printable(policy),
    limit: limit === 0 ? null : sizeText(limit),
    evicted: Number(info?.get('evicted_keys') ?? 0),
    fullness: limit === 0 ? 0 : Number(info?.get('used_memory') ?? 0) / limit,
  };
}

/** The cost of a crash of the state Redis. */
export function judgePersistence({ info, settings }: ServerProperties): ServerFinding {
  const subject = 'state persistence';
  const [aof, rdb] = [info?.get('aof_last_write_status'), info?.get('rdb_last_bgsave_status')];
  const isOnText = info?.get('aof_enabled') ?? settings.get('appendonly') ?? null;
  const save = settings.get('save') ?? null;
  if (isOnText === null) return unknownFinding(subject);
  const isOn = /^(1|yes)$/.test(isOnText);
  const advice = 'run CONFIG SET appendonly yes, and add appendonly yes to redis.conf';
  if ((isOn && aof === 'err') || rdb === 'err') {
    const found = 'the last write to disk failed, and Redis may reject writes';
    return problem(subject, found, 'check the log and the disk of Redis');
  }
  if (isOn)
    return ok(subject, 'appendonly yes: a crash of Redis loses at most 1 s of writes by default');
  if (save === '') {
    const found = 'off: a restart of Redis loses deadlines, pending webhooks and dead letters';
    return warning(subject, found, advice);
  }
  const [found, since] =
    save === null
      ? ['appendonly no, and save is unknown', 'the last snapshot, or all of them']
      : [`only snapshots (save ${printable(save)})`, 'the last snapshot'];
  return warning(
    subject,
    `${found}: a crash of Redis loses the deadlines, webhooks and dead letters since ${since}`,
    advice,
  );
}
