/** Which life of its key an expiration ended: a name may have several in a row. Pure. */
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { nameOf } from '../key-name.js';
import type { Creation, Expiration, KeyInDatabase, Notice } from '../vocabulary.js';

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
  /** A command removed the key before its deadline. */
  readonly isRemoval: boolean;
}

/** What is known of the index while expirations are claimed. */
export interface IndexState {
  /** Whether something was heard of a key since. */
  readonly isNoticed: (key: KeyInDatabase) => boolean;
  /** As `Index.tellsRemovals` in parts.ts. */
  readonly tellsRemovals: (database: number) => boolean;
}

/** No key expires so much before its deadline, however far the clocks are known to one another. */
const EARLY_MS = 1_000;

/**
 * The expirations with their deadlines, as far as `deadlines`, what the index has of each key, is about
 * them. Of several expirations of one key it is about the first. One that is out of date goes with the
 * expiration, and is not told.
 */
export function withDeadlines(
  ended: readonly Ended[],
  deadlines: readonly (number | null)[],
  { isNoticed, tellsRemovals }: IndexState,
): Known[] {
  const named = new Set<string>();
  return ended.map(({ expiration, isIndexed }, at) => {
    const name = nameOf(expiration);
    const entryMs = named.has(name) ? null : (deadlines[at] ?? null);
    named.add(name);
    if (!isIndexed) return { expiration, entryMs, isRemoval: false };
    // The index is about the life that ended: what was heard later is not read before this is claimed.
    const isEarly = entryMs !== null && entryMs > expiration.detectedAtMs + EARLY_MS;
    if (isEarly && expiration.detectedBy === 'notification' && tellsRemovals(expiration.database)) {
      return { expiration, entryMs, isRemoval: true };
    }
    const slackMs = isNoticed(expiration) ? 0 : CLOCK_SLACK_MS;
    const known = withDeadline(expiration, entryMs, slackMs);
    return { expiration: known, entryMs: known.expiredAtMs, isRemoval: false };
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
 * Of keys that were created, those whose lives before had ended by their deadlines, unheard. A deadline
 * about then may be that of the life that began.
 */
export function outlived(
  created: readonly Creation[],
  deadlines: readonly (number | null)[],
): Ended[] {
  return created.flatMap(({ database, key, heardAtMs }, at) => {
    const deadlineMs = deadlines[at] ?? null;
    if (deadlineMs === null || deadlineMs > heardAtMs - CLOCK_SLACK_MS) return [];
    const found = { database, key, expiredAtMs: null, detectedAtMs: heardAtMs } as const;
    return { database, key, expiration: { ...found, detectedBy: 'recovery' }, isIndexed: true };
  });
}

/**
 * The notices of a slice, one for each key; the expirations among them, of which only the first of a
 * key can be what the index is about; and the keys of which something was heard after that.
 */
export function inOrder(slice: readonly Noted[]) {
  const changed = new Map<string, KeyInDatabase>();
  const removed = new Map<string, KeyInDatabase>();
  const created = new Map<string, Creation>();
  const later = new Map<string, KeyInDatabase>();
  const over = new Set<string>();
  const expired: Ended[] = [];
  for (const one of slice) {
    const name = nameOf(one);
    if (one.kind === 'expired') {
      expired.push({ ...one, isIndexed: one.isIndexed && !over.has(name) });
      over.add(name);
    } else if (one.kind === 'created') {
      // Behind anything else, that is what ended the life before.
      const isFirst = ![changed, removed, created, over].some((heard) => heard.has(name));
      if (isFirst) created.set(name, one);
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
    created: [...created.values()],
    changed: [...changed.values()],
    removed: [...removed.values()],
    expired,
    later: [...later.values()],
  };
}
