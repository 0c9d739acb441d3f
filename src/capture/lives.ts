/** Which life of its key an expiration ended: a name may have several in a row. Pure. */
import type { Expiration, KeyInDatabase, Notice } from '../vocabulary.js';

/** The clocks of Redis and of the relay are known to one another only so well. */
const CLOCK_SLACK_MS = 50;

/** An expiration, and the deadline in the index that goes with it; null where none does. */
export interface Known {
  readonly expiration: Expiration;
  readonly entryMs: number | null;
}

/**
 * The index has one deadline of each key, from before all of these notices. It is that of the first
 * expiration of its key; unless something was heard of the key before: then nobody knows.
 */
export function withDeadlines(
  heard: readonly (Notice | { readonly kind: 'expired'; readonly expiration: Expiration })[],
  deadlines: readonly (number | null)[],
): Known[] {
  const noticed = new Set<string>();
  const taken = new Set<string>();
  const known: Known[] = [];
  for (const one of heard) {
    if (one.kind !== 'expired') {
      noticed.add(nameOf(one));
      continue;
    }
    const { expiration } = one;
    const name = nameOf(expiration);
    const deadlineMs = deadlines[known.length] ?? null;
    const its = withDeadline(expiration, deadlineMs);
    // One that is yet to come is not the next life's, if it was changed before.
    const fits = noticed.has(name) ? deadlineMs : its.expiredAtMs;
    const entryMs = taken.has(name) ? null : fits;
    if (entryMs !== null) taken.add(name);
    known.push({ expiration: entryMs === null || noticed.has(name) ? expiration : its, entryMs });
  }
  return known;
}

/** A deadline that is yet to come belongs to the key's next life. */
function withDeadline(expiration: Expiration, deadlineMs: number | null): Expiration {
  const { detectedAtMs } = expiration;
  if (deadlineMs === null) return expiration;
  if (deadlineMs > detectedAtMs + CLOCK_SLACK_MS) return expiration;
  return {
    ...expiration,
    expiredAtMs: deadlineMs,
    detectedAtMs: Math.max(detectedAtMs, deadlineMs),
  };
}

export function nameOf({ database, key }: KeyInDatabase): string {
  return `${database}:${key.toString('latin1')}`;
}
