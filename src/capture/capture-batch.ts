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
  for (const [at, one] of dated.entries()) {
    const { expiration: found, matches, entryMs, isRemoval } = one;
    built += 1;
    const expiration = dropped.restore(found);
    // Its entry is gone: it was heard of after all, or has another life.
    if (expiration.detectedBy === 'recovery' && expiration.expiredAtMs === null) continue;
    const { database, key, detectedAtMs } = found;
    const names = identityOf(one, chance);
    const claim = { database, key, deadlineMs: entryMs, detectedAtMs, names, deliveryIds: [] };
    if (isRemoval) {
      // Claimed as well: a replica that takes over has heard the same notification.
      claimed.push(claim);
      events.removedEarly(expiration, entryMs);
      continue;
    }
    let made: BuildResult = { deliveries: [], tooLarge: [] };
    try {
      made = buildDeliveries(expiration, matches, {
        occurrence: occurrenceOf(expiration, names),
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
    const deliveryIds = its.map(({ id }) => id);
    if (its.length > 0 || entryMs !== null) claimed.push({ ...claim, deliveryIds });
    if (expiration.detectedBy === 'recovery' && its.length > 0) recovered += 1;
    if (deliveries.length >= DELIVERIES_MAX || bodyBytes >= BODY_BYTES_AT_ONCE_MAX) break;
    if (clock.monotonicMs() >= endMs) break;
  }
  if (recovered > 0) events.recovered(recovered);
  return { deliveries, claimed, built };
}

/** The names of an expiration. One that only this replica knows of is told by its deadline, or by chance. */
function identityOf({ names, entryMs }: DatedExpiration, chance: Chance): readonly string[] {
  if (names.length > 0) return names;
  return [entryMs === null ? chance.token() : `=${entryMs}`];
}
