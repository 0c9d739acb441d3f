/**
 * How late Redis by itself says that a key has expired. Its background cycle comes `hz` times a
 * second, and looks each time at so many keys with a TTL in each database, round and round; so the
 * lag of one key is uniform from nothing to the length of a round. Source: Redis 7.0, expire.c,
 * `activeExpireCycle`: ACTIVE_EXPIRE_CYCLE_KEYS_PER_LOOP and what the effort makes of it. Pure.
 */
import { type Finding, note } from '../server/finding.js';
import { countText, keysText, lengthText } from '../server/wording.js';
import type { ServerReading } from './server.js';

const KEYS_PER_LOOP = 20;

/** What the server is set to when it does not say. */
const DEFAULT_EFFORT = 1;
const DEFAULT_HZ = 10;

/** For a server that is nearly empty now, to show what it will be when it is not. */
const MANY_KEYS = 100_000;

/** Less than a tick or two of the cycle at its defaults: nobody waits for it. */
const SHORT_MS = 1_000;

export interface ExpiryCycle {
  /** Rounds per second. */
  readonly hz: number;
  /** `active-expire-effort`: 1 to 10. */
  readonly effort: number;
}

/** How many keys with a TTL Redis looks at in a second. */
export function keysPerSecond({ hz, effort }: ExpiryCycle): number {
  return (KEYS_PER_LOOP + (KEYS_PER_LOOP / 4) * (effort - 1)) * hz;
}

/** The longest lag, in milliseconds, with so many keys that have a TTL; the mean is half of it. */
export function worstLagMs(keys: number, cycle: ExpiryCycle): number {
  return Math.max((keys / keysPerSecond(cycle)) * 1_000, 1_000 / cycle.hz);
}

const ADVICE =
  'nothing to do: the relay reads each key just after its deadline, and Redis says so within ' +
  'milliseconds';

/** `isOnly`: no other database is watched. */
export function judgeLateness(
  { info, settings }: Pick<ServerReading, 'info' | 'settings'>,
  database: number,
  isOnly: boolean,
): Finding {
  const subject = isOnly ? 'lateness' : `lateness in ${database}`;
  const keyspace = info?.keyspace(database) ?? null;
  if (info === null || keyspace === null) {
    const advice = 'allow the user +info to see how late plain notifications would be here';
    return note(subject, 'cannot be told: INFO does not show how many keys there are', advice);
  }
  const { expires } = keyspace;
  const shown = settings.get('active-expire-effort') ?? null;
  const effort = Number(shown ?? DEFAULT_EFFORT);
  const cycle = { hz: Number(info.get('hz') ?? DEFAULT_HZ), effort };
  const pace =
    `${countText(keysPerSecond(cycle))} of them a second (hz ${cycle.hz}, ` +
    `active-expire-effort ${effort}${shown === null ? ', which it does not show' : ''})`;
  const worstMs = worstLagMs(expires, cycle);
  const found = `by itself Redis says \`expired\` up to ${lengthText(worstMs)} late here`;
  if (worstMs <= SHORT_MS) {
    const many = `with ${countText(MANY_KEYS)}, up to ${lengthText(worstLagMs(MANY_KEYS, cycle))}`;
    const few = `beside ${keysText(expires)} with a TTL`;
    return note(subject, `${found}, ${few} (${many}): it looks at ${pace}`, ADVICE);
  }
  const stale = Math.round(Number(info.get('expired_stale_perc') ?? 0));
  const behind = stale >= 1 ? `; some ${stale}% of them are past their deadlines` : '';
  return note(
    subject,
    `${found}, ${lengthText(worstMs / 2)} in the mean: ${countText(expires)} keys have a TTL, and ` +
      `it looks at ${pace}${behind}`,
    ADVICE,
  );
}
