/**
 * How late Redis alone publishes `expired`. The active expire cycle runs `hz` times a second, and each run checks a
 * limited number of keys with a TTL in each database, in rotation. The delay of a key is thus uniformly distributed
 * between zero and the duration of a full rotation. Source: Redis 7.0, expire.c, `activeExpireCycle`,
 * ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP scaled by the effort. Pure.
 */
import { type Finding, note } from '../server/finding.js';
import { countText, keysText, lengthText } from '../server/wording.js';
import type { ServerReading } from './server.js';

const KEYS_PER_LOOP = 20;

/** The value when the server does not show its setting. */
const DEFAULT_EFFORT = 1;
const DEFAULT_HZ = 10;

/** For a server that is nearly empty: the delay to expect with many keys. */
const MANY_KEYS = 100_000;

/** About two runs of the cycle with default settings: too short to matter. */
const SHORT_MS = 1_000;

export interface ExpiryCycle {
  /** Runs per second. */
  readonly hz: number;
  /** `active-expire-effort`: 1 to 10. */
  readonly effort: number;
}

/** Keys with a TTL that Redis checks per second. */
export function keysPerSecond({ hz, effort }: ExpiryCycle): number {
  return (KEYS_PER_LOOP + (KEYS_PER_LOOP / 4) * (effort - 1)) * hz;
}

/** The longest delay in milliseconds for this many keys with a TTL; the mean is half of it. */
export function worstLagMs(keys: number, cycle: ExpiryCycle): number {
  return Math.max((keys / keysPerSecond(cycle)) * 1_000, 1_000 / cycle.hz);
}

/** `isOnly`: no other database is watched. */
export function judgeLateness(
  { info, settings }: Pick<ServerReading, 'info' | 'settings'>,
  database: number,
  isOnly: boolean,
): Finding {
  const subject = isOnly ? 'lateness' : `lateness in ${database}`;
  const keyspace = info?.keyspace(database) ?? null;
  if (info === null || keyspace === null) {
    return note(
      subject,
      'unknown: INFO does not show the number of keys',
      'grant +info to the user',
    );
  }
  const { expires } = keyspace;
  const shown = settings.get('active-expire-effort') ?? null;
  const effort = Number(shown ?? DEFAULT_EFFORT);
  const cycle = { hz: Number(info.get('hz') ?? DEFAULT_HZ), effort };
  const pace =
    `Redis checks ${countText(keysPerSecond(cycle))} keys with a TTL per second (hz ${cycle.hz}, ` +
    `active-expire-effort ${effort}${shown === null ? ', the default' : ''})`;
  const worstMs = worstLagMs(expires, cycle);
  const found = `without the relay, \`expired\` events would be up to ${lengthText(worstMs)} late`;
  if (worstMs <= SHORT_MS) {
    const many = `with ${countText(MANY_KEYS)}, up to ${lengthText(worstLagMs(MANY_KEYS, cycle))}`;
    const few = `with ${keysText(expires)} with a TTL`;
    return note(subject, `${found} ${few} (${many}): ${pace}`);
  }
  const stale = Math.round(Number(info.get('expired_stale_perc') ?? 0));
  const behind = stale >= 1 ? `; about ${stale}% of the keys are past their deadlines` : '';
  return note(
    subject,
    `${found} (${lengthText(worstMs / 2)} on average): ${countText(expires)} keys have a TTL, and ` +
      `${pace}${behind}`,
  );
}
