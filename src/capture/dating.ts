/** Which deadline an expiration had: a key may have had several lives in a row. Pure. */

import type { CreatedEvent, Expiration } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { Match } from '../routing/routes.js';
import type { RoutedExpiration } from './event-queue.js';
import { namesOf } from './sequence.js';

/** An expiration, and the deadline in the index that goes with it; null where none does. */
export interface DatedExpiration {
  readonly expiration: Expiration;
  readonly matches: readonly Match[];
  /** Those that other replicas know the expiration by; none where the relay found it by itself. */
  readonly names: readonly string[];
  readonly entryMs: number | null;
  /** A command removed the key before its deadline. */
  readonly isRemoval: boolean;
}

/** No key expires so much before its deadline, however far the clocks are known to one another. */
const EARLY_MS = 1_000;

/** What is known of an expiration beside the event and the entry in the index. */
export interface Circumstances {
  /** Whether anything is known to have become of the key since. */
  readonly isFollowed: boolean;
  /** Whether it would be known. */
  readonly isAllHeard: boolean;
  /** Whether an `expired` long before the deadline in the index can only be of a key that a command removed. */
  readonly tellsRemovals: boolean;
}

/** Whether the deadline in the index is yet to come: it is of the key's next life, or was shortened. */
export function isYetToCome({ detectedAtMs }: RoutedExpiration, entryMs: number | null): boolean {
  return entryMs !== null && entryMs > detectedAtMs + CLOCK_SLACK_MS;
}

/** The expiration with the deadline of its entry, where that is about the life that ended. */
export function dated(
  event: RoutedExpiration,
  entryMs: number | null,
  { isFollowed, isAllHeard, tellsRemovals }: Circumstances,
): DatedExpiration {
  const { database, key, detectedAtMs, detectedBy, matches } = event;
  const undated = { database, key, expiredAtMs: null, detectedAtMs, detectedBy };
  const names = namesOf(event);
  if (event.isOutdated) return { expiration: undated, matches, names, entryMs, isRemoval: false };
  if (isYetToCome(event, entryMs) && isAllHeard && !isFollowed) {
    // The key has no next life: the entry is of the life that ended, whose deadline was shortened, or of a removed key.
    const isEarly = entryMs !== null && entryMs > detectedAtMs + EARLY_MS;
    const isRemoval = isEarly && detectedBy === 'notification' && tellsRemovals;
    return { expiration: undated, matches, names, entryMs, isRemoval };
  }
  const expiration = withDeadline(undated, entryMs, isFollowed ? 0 : CLOCK_SLACK_MS);
  return { expiration, matches, names, entryMs: expiration.expiredAtMs, isRemoval: false };
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
 * Whether the key had already expired, unheard, when it was created again. A deadline within the clock slack may belong
 * to the new life.
 */
export function hadExpired({ detectedAtMs }: CreatedEvent, deadlineMs: number | null): boolean {
  return deadlineMs !== null && deadlineMs <= detectedAtMs - CLOCK_SLACK_MS;
}
