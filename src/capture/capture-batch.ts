/** Builds a batch that the outbox stores at once: expirations of a slice, and their deliveries. */
import type { Chance, Clock } from '../lib/clock.js';
import type { ValuesByRoute } from '../model/key-value.js';
import type { CapturedExpiration, Delivery } from '../model/vocabulary.js';
import { BODY_BYTES_MAX } from '../payload/body.js';
import { type BuildResult, buildDeliveries, occurrenceOf } from '../payload/build.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { DatedExpiration } from './dating.js';
import type { OverflowLog } from './overflow-log.js';

/** The values of an expiration whose routes ask for none. */
const NOTHING: ValuesByRoute = new Map();

/** How long deliveries are built before the rest of the process has its turn. */
const SLICE_MS = 5;

/** The size of a batch: some milliseconds' work for Redis. A single expiration may exceed it. */
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
  readonly captured: readonly CapturedExpiration[];
  /** How many expirations the batch covers, from the first one of the slice. */
  readonly built: number;
}

/** `carried` holds the values of each expiration; empty if no route asks for values. */
export function buildBatch(
  dated: readonly DatedExpiration[],
  carried: readonly ValuesByRoute[],
  { overflow, events, clock, chance }: BatchParts,
): CaptureBatch {
  const endMs = clock.monotonicMs() + SLICE_MS;
  const deliveries: Delivery[] = [];
  const captured: CapturedExpiration[] = [];
  let built = 0;
  let bodyBytes = 0;
  let recovered = 0;
  for (const one of dated) {
    const { expiration: found, routes, entryMs, isRemoval } = one;
    const values = carried[built] ?? NOTHING;
    built += 1;
    const expiration = overflow.restore(found);
    // The entry was consumed: the notification was processed after all, or the key exists again.
    if (expiration.detectedBy === 'recovery' && expiration.expiredAtMs === null) continue;
    const { database, key, detectedAtMs } = found;
    const names = namesToStore(one, chance);
    const done = { database, key, deadlineMs: entryMs, detectedAtMs, names };
    if (isRemoval) {
      // Captured as well: a replica that takes over has received the same notification.
      captured.push(done);
      events.removedEarly(expiration, entryMs);
      continue;
    }
    let result: BuildResult = { deliveries: [], tooLarge: [] };
    try {
      result = buildDeliveries(expiration, routes, {
        occurrence: occurrenceOf(expiration, names),
        isTest: false,
        carried: values,
      });
    } catch (error) {
      // Captured nevertheless: another attempt would fail as well, and delay all other expirations.
      events.unbuildable(expiration, error);
    }
    const { deliveries: its, tooLarge } = result;
    events.expired(expiration, its);
    events.deliveriesOversized(expiration, tooLarge, BODY_BYTES_MAX);
    deliveries.push(...its);
    for (const { body } of its) bodyBytes += body.length;
    if (its.length > 0 || entryMs !== null) captured.push(done);
    if (expiration.detectedBy === 'recovery' && its.length > 0) recovered += 1;
    if (deliveries.length >= DELIVERIES_MAX || bodyBytes >= BODY_BYTES_AT_ONCE_MAX) break;
    if (clock.monotonicMs() >= endMs) break;
  }
  if (recovered > 0) events.recovered(recovered);
  return { deliveries, captured, built };
}

/** The names to store. An expiration without a mark is named by the deadline of its entry, or at random. */
function namesToStore({ names, entryMs }: DatedExpiration, chance: Chance): readonly string[] {
  if (names.length > 0) return names;
  return [entryMs === null ? chance.token() : `=${entryMs}`];
}
