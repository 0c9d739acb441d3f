/** Which life of its key an expiration ended: a name may have several in a row. Pure. */
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { nameOf } from '../key-name.js';
import type { Expiration, KeyInDatabase } from '../vocabulary.js';

/** An expiration that is to be captured. */
export interface Ended extends KeyInDatabase {
  readonly expiration: Expiration;
  /** Whether the deadline in the index is that of the life that ended: nothing was heard since. */
  readonly isIndexed: boolean;
}

/**
 * The expirations with their deadlines, as far as `deadlines`, what the index has of each key, is about
 * them. Of several expirations of one key it is about the first. `isNoticed` tells whether something
 * was heard of a key since.
 */
export function withDeadlines(
  ended: readonly Ended[],
  deadlines: readonly (number | null)[],
  isNoticed: (key: KeyInDatabase) => boolean,
): Expiration[] {
  const named = new Set<string>();
  return ended.map(({ expiration, isIndexed }, at) => {
    const name = nameOf(expiration);
    const isFirst = !named.has(name);
    named.add(name);
    const deadlineMs = isFirst && isIndexed ? (deadlines[at] ?? null) : null;
    const slackMs = isNoticed(expiration) ? 0 : CLOCK_SLACK_MS;
    return withDeadline(expiration, deadlineMs, slackMs);
  });
}

/** A deadline that is yet to come, by more than the slack, belongs to the key's next life. */
function withDeadline(
  expiration: Expiration,
  deadlineMs: number | null,
  slackMs: number,
): Expiration {
  const { detectedAtMs } = expiration;
  if (deadlineMs === null || deadlineMs > detectedAtMs + slackMs) return expiration;
  return {
    ...expiration,
    expiredAtMs: deadlineMs,
    detectedAtMs: Math.max(detectedAtMs, deadlineMs),
  };
}
