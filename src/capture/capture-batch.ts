/** What a slice of expirations becomes: deliveries, and the entries of the index that they claim. */
import type { Chance, Clock } from '../lib/clock.js';
import type { ValuesByRoute } from '../model/key-value.js';
import type { ConsumedDeadline, Delivery } from '../model/vocabulary.js';
import { BODY_BYTES_MAX } from '../payload/body.js';
import { type BuildResult, buildDeliveries, occurrenceOf } from '../payload/build.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { DatedExpiration } from './dating.js';
import type { OverflowLog } from './overflow-log.js';

/** For an expiration of which no route asks for a value. */
const NOTHING: ValuesByRoute = new Map();

/** How long deliveries are built before the rest of the process has its turn. */
const SLICE_MS = 5;

/** What one script stores: some milliseconds' work for Redis, unless one expiration has more. */
const DELIVERIES_MAX = 500;
const BODY_BYTES_AT_ONCE_MAX = 1024 * 1024;

export interface BatchParts {
  readonly overflow: Pick<OverflowLog, 'restore'>;
  readonly events: CaptureEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

export interface CaptureBatch {
  readonly deliveries: readonly Delivery[];
  readonly claimed: readonly ConsumedDeadline[];
  /** How many of the slice, from its first on, these are of. */
  readonly built: number;
}

/** `carried` are the values of each, as far as any are wanted. */
export function buildBatch(
  dated: readonly DatedExpiration[],
  carried: readonly ValuesByRoute[],
  { overflow: dropped, events, clock, chance }: BatchParts,
): CaptureBatch {
  const endMs = clock.monotonicMs() + SLICE_MS;
  const deliveries: Delivery[] = [];
  const claimed: ConsumedDeadline[] = [];
  let built = 0;
  let bodyBytes = 0;
  let recovered = 0;
  for (const [at, { expiration: found, matches, entryMs, isRemoval }] of dated.entries()) {
    built += 1;
    const expiration = dropped.restore(found);
    // Its entry is gone: it was heard of after all, or has another life.
    if (expiration.detectedBy === 'recovery' && expiration.expiredAtMs === null) continue;
    const { database, key, detectedAtMs } = found;
    const claim = { database, key, deadlineMs: entryMs, detectedAtMs };
    if (isRemoval) {
      // Claimed as well: a replica that takes over has heard the same notification.
      claimed.push(claim);
      events.removedEarly(expiration, entryMs);
      continue;
    }
    let made: BuildResult = { deliveries: [], tooLarge: [] };
    try {
      made = buildDeliveries(expiration, matches, {
        occurrence: occurrenceOf(expiration) ?? chance.token(),
        isTest: false,
        carried: carried[at] ?? NOTHING,
      });
    } catch (error) {
      // Claimed all the same: it would fail again, and hold up all others.
      events.unbuildable(expiration, error);
    }
    const { deliveries: its, tooLarge } = made;
    events.expired(expiration, its);
    events.deliveriesRefused(expiration, tooLarge, BODY_BYTES_MAX);
    deliveries.push(...its);
    for (const { body } of its) bodyBytes += body.length;
    if (its.length > 0 || entryMs !== null) claimed.push(claim);
    if (expiration.detectedBy === 'recovery' && its.length > 0) recovered += 1;
    if (deliveries.length >= DELIVERIES_MAX || bodyBytes >= BODY_BYTES_AT_ONCE_MAX) break;
    if (clock.monotonicMs() >= endMs) break;
  }
  if (recovered > 0) events.recovered(recovered);
  return { deliveries, claimed, built };
}
