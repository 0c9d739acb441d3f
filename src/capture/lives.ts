/** Which life of its key an expiration ended: a name may have several in a row. Pure. */
import type { Expiration, KeyInDatabase, Notice } from '../vocabulary.js';

/** The clocks of Redis and of the relay are known to one another only so well. */
const CLOCK_SLACK_MS = 50;

/** An expiration, and the deadline in the index that goes with it; null where none does. */
export interface Known {
  readonly expiration: Expiration;
  readonly entryMs: number | null;
}

type Heard = Notice | { readonly kind: 'expired'; readonly expiration: Expiration };

/**
 * The index has one deadline of each key, from before all of these notices. It is that of the first
 * expiration of its key; unless something was heard of the key before: then nobody knows. `queue` is
 * what was heard so far, and begins with these; `unread` are the keys of which something was heard
 * before, and whose deadlines could not be read then.
 */
export function withDeadlines(
  heard: readonly Heard[],
  deadlines: readonly (number | null)[],
  queue: readonly Heard[],
  unread: ReadonlySet<string>,
): Known[] {
  const noticed = new Set(unread);
  const taken = new Set<string>();
  const known: Known[] = [];
  for (const [place, one] of heard.entries()) {
    if (one.kind !== 'expired') {
      noticed.add(nameOf(one));
      continue;
    }
    const { expiration } = one;
    const name = nameOf(expiration);
    const deadlineMs = deadlines[known.length] ?? null;
    const its = withDeadline(expiration, deadlineMs, () => isSetAgain(name, queue, place));
    // What was not heard to expire is known by its entry alone.
    const isOutdated = noticed.has(name) && expiration.detectedBy === 'notification';
    // One that is yet to come is not the next life's, if it was changed before.
    const fits = isOutdated ? deadlineMs : its.expiredAtMs;
    const entryMs = taken.has(name) ? null : fits;
    if (entryMs !== null) taken.add(name);
    known.push({ expiration: entryMs === null || isOutdated ? expiration : its, entryMs });
  }
  return known;
}

function isSetAgain(name: string, queue: readonly Heard[], after: number): boolean {
  return queue.some((one, at) => at > after && one.kind === 'changed' && nameOf(one) === name);
}

/**
 * A deadline that is yet to come belongs to the key's next life; one that is as good as now does if
 * the key was set again.
 */
function withDeadline(
  expiration: Expiration,
  deadlineMs: number | null,
  isSetAgain: () => boolean,
): Expiration {
  const { detectedAtMs } = expiration;
  if (deadlineMs === null) return expiration;
  if (deadlineMs > detectedAtMs + CLOCK_SLACK_MS) return expiration;
  if (deadlineMs > detectedAtMs && isSetAgain()) return expiration;
  return {
    ...expiration,
    expiredAtMs: deadlineMs,
    detectedAtMs: Math.max(detectedAtMs, deadlineMs),
  };
}

export function nameOf({ database, key }: KeyInDatabase): string {
  return `${database}:${key.toString('latin1')}`;
}
