/** Which deadline an expiration had: a key may have had several lives in a row. Pure. */
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import type { Match } from '../routing.js';
import type { CreatedEvent, Expiration } from '../vocabulary.js';
import type { RoutedExpiration } from './event-queue.js';

/** An expiration, and the deadline in the index that goes with it; null where none does. */
export interface DatedExpiration {
  readonly expiration: Expiration;
  readonly matches: readonly Match[];
  readonly entryMs: number | null;
  /** A command removed the key before its deadline. */
  readonly isRemoval: boolean;
}

/** No key expires so much before its deadline, however far the clocks are known to one another. */
const EARLY_MS = 1_000;

/** Whether Redis published the expiration long before the deadline in the index. */
export function isEarly(
  { detectedAtMs, detectedBy }: RoutedExpiration,
  entryMs: number | null,
): boolean {
  const isPublished = detectedBy === 'notification';
  return isPublished && entryMs !== null && entryMs > detectedAtMs + EARLY_MS;
}

/** The expiration of a key that a command removed; its entry goes with it. */
export function removal(event: RoutedExpiration, entryMs: number | null): DatedExpiration {
  const { matches } = event;
  return { expiration: undated(event), matches, entryMs, isRemoval: true };
}

/**
 * The expiration with the deadline of its entry, where that is about the life that ended. `isFollowed`: more is known
 * to have happened to the key since.
 */
export function dated(
  event: RoutedExpiration,
  entryMs: number | null,
  isFollowed: boolean,
): DatedExpiration {
  const slackMs = isFollowed ? 0 : CLOCK_SLACK_MS;
  const expiration = withDeadline(undated(event), entryMs, slackMs);
  const { matches } = event;
  return { expiration, matches, entryMs: expiration.expiredAtMs, isRemoval: false };
}

function undated({ database, key, detectedAtMs, detectedBy }: RoutedExpiration): Expiration {
  return { database, key, expiredAtMs: null, detectedAtMs, detectedBy };
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
 * Whether the life before had ended by its deadline, unheard, when the key was created. A deadline about then may be
 * that of the life that began.
 */
export function hadExpired({ detectedAtMs }: CreatedEvent, deadlineMs: number | null): boolean {
  return deadlineMs !== null && deadlineMs <= detectedAtMs - CLOCK_SLACK_MS;
}
