/** Which life of its key an expiration ended: a name may have several in a row. Pure. */
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { nameOf } from '../key-name.js';
import type { Expiration, KeyInDatabase, Notice } from '../vocabulary.js';

/** An expiration that is to be captured. */
export interface Ended extends KeyInDatabase {
  readonly expiration: Expiration;
  /** Whether the deadline in the index is that of the life that ended: nothing was heard since. */
  readonly isIndexed: boolean;
}

/** What the lane of notices holds: them, and expirations that were heard behind one of their key. */
export type Noted = Notice | (Ended & { readonly kind: 'expired' });

/** An expiration, and the deadline in the index that goes with it; null where none does. */
export interface Known {
  readonly expiration: Expiration;
  readonly entryMs: number | null;
}

/**
 * The expirations with their deadlines, as far as `deadlines`, what the index has of each key, is about
 * them. Of several expirations of one key it is about the first. One that is out of date goes with the
 * expiration, and is not told. `isNoticed` tells whether something was heard of a key since.
 */
export function withDeadlines(
  ended: readonly Ended[],
  deadlines: readonly (number | null)[],
  isNoticed: (key: KeyInDatabase) => boolean,
): Known[] {
  const named = new Set<string>();
  return ended.map(({ expiration, isIndexed }, at) => {
    const name = nameOf(expiration);
    const entryMs = named.has(name) ? null : (deadlines[at] ?? null);
    named.add(name);
    if (!isIndexed) return { expiration, entryMs };
    const slackMs = isNoticed(expiration) ? 0 : CLOCK_SLACK_MS;
    const known = withDeadline(expiration, entryMs, slackMs);
    return { expiration: known, entryMs: known.expiredAtMs };
  });
}

/** A deadline that is yet to come, by more than the slack, belongs to the key's next life. */
export function withDeadline(
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

/**
 * The notices of a slice, one for each key; the expirations among them, of which only the first of a
 * key can be what the index is about; and the keys of which something was heard after that.
 */
export function inOrder(slice: readonly Noted[]) {
  const changed = new Map<string, KeyInDatabase>();
  const removed = new Map<string, KeyInDatabase>();
  const later = new Map<string, KeyInDatabase>();
  const over = new Set<string>();
  const expired: Ended[] = [];
  for (const one of slice) {
    const name = nameOf(one);
    if (one.kind === 'expired') {
      expired.push({ ...one, isIndexed: one.isIndexed && !over.has(name) });
      over.add(name);
    } else if (over.has(name)) {
      later.set(name, one);
    } else if (one.kind === 'changed') {
      changed.set(name, one);
    } else {
      changed.delete(name);
      removed.set(name, one);
    }
  }
  return {
    changed: [...changed.values()],
    removed: [...removed.values()],
    expired,
    later: [...later.values()],
  };
}
