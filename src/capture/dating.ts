/** Finds the deadline of an expiration: a key may have had several lives in a row. Pure. */

import type { CreatedEvent, Expiration, Route } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { RoutedExpiration } from './event-queue.js';
import { namesOf } from './sequence.js';

/** An expiration, and its entry in the index. */
export interface DatedExpiration {
  readonly expiration: Expiration;
  readonly routes: readonly Route[];
  /** The names that refer to marks; none if the relay found the expiration itself, or received no mark. */
  readonly names: readonly string[];
  /** The deadline of the entry that belongs to the expiration; null: none. */
  readonly entryMs: number | null;
  /** A command removed the key before its deadline. */
  readonly isRemoval: boolean;
}

/** More than any error of the clocks: no key expires this long before its deadline. */
const EARLY_MS = 1_000;

/** Facts about an expiration that neither the event nor the index entry shows. */
export interface Circumstances {
  /** Whether a later event of the key is known. */
  readonly isFollowed: boolean;
  /** Whether all events published so far were received: a later event of the key would be known. */
  readonly isAllReceived: boolean;
  /** Whether an `expired` long before the deadline in the index can only mean that a command removed the key. */
  readonly tellsRemovals: boolean;
}

/** Whether the index has a deadline after the expiration: the key has a next life, or its deadline was shortened. */
export function isYetToCome({ detectedAtMs }: RoutedExpiration, entryMs: number | null): boolean {
  return entryMs !== null && entryMs > detectedAtMs + CLOCK_SLACK_MS;
}

/** Returns the expiration with the deadline of its entry, if the entry is for the life that ended. */
export function dated(
  event: RoutedExpiration,
  entryMs: number | null,
  { isFollowed, isAllReceived, tellsRemovals }: Circumstances,
): DatedExpiration {
  const { database, key, detectedAtMs, detectedBy, routes } = event;
  const undated = { database, key, expiredAtMs: null, detectedAtMs, detectedBy };
  const names = namesOf(event);
  if (event.isOutdated) return { expiration: undated, routes, names, entryMs, isRemoval: false };
  if (isYetToCome(event, entryMs) && isAllReceived && !isFollowed) {
    // The key has no next life: the deadline of the life that ended was shortened, or a command removed the key.
    const isEarly = entryMs !== null && entryMs > detectedAtMs + EARLY_MS;
    const isRemoval = isEarly && detectedBy === 'notification' && tellsRemovals;
    return { expiration: undated, routes, names, entryMs, isRemoval };
  }
  const expiration = withDeadline(undated, entryMs, isFollowed ? 0 : CLOCK_SLACK_MS);
  return { expiration, routes, names, entryMs: expiration.expiredAtMs, isRemoval: false };
}

/**
 * Returns the expiration with this deadline. A deadline that is later by more than the slack is ignored: it belongs to
 * the key's next life.
 */
export function withDeadline(
  expiration: Expiration,
  deadlineMs: number | null,
  slackMs: number,
): Expiration {
  const { database, key, detectedBy } = expiration;
  if (deadlineMs === null || deadlineMs > expiration.detectedAtMs + slackMs) return expiration;
  const detectedAtMs = Math.max(expiration.detectedAtMs, deadlineMs);
  return { database, key, expiredAtMs: deadlineMs, detectedAtMs, detectedBy };
}

/**
 * Whether the key had already expired, without a notification, when it was created again. A deadline within the clock
 * slack may belong to the new life.
 */
export function hadExpired({ detectedAtMs }: CreatedEvent, deadlineMs: number | null): boolean {
  return deadlineMs !== null && deadlineMs <= detectedAtMs - CLOCK_SLACK_MS;
}
