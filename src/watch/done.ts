/** Which of the expirations that this replica has heard another one has captured. Pure. */
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent } from '../model/vocabulary.js';
import type { BufferedEvent } from './replay-buffer.js';

/** One expiration is not heard at the same moment by all replicas, of which one may be busy. */
export const HEARD_APART_MS = 1_000;

/**
 * A deadline so much later than an expiration is that of the next life. Less than the clocks may be
 * apart, since lives may be short: what is left out wrongly is still in the index, and found again.
 */
const NEXT_LIFE_MS = 10;

/** By key: that of its expirations, as they were heard here, which somebody has claimed last. */
export function lastClaimed(
  expired: readonly BufferedEvent<ExpiredEvent>[],
  claimed: readonly (number | null)[],
  nowMs: number,
): ReadonlyMap<string, ExpiredEvent> {
  const last = new Map<string, ExpiredEvent>();
  const apartMs = new Map<string, number>();
  for (const [at, { event, lateMsMax }] of expired.entries()) {
    const claimedMs = claimed[at] ?? null;
    if (claimedMs === null) continue;
    const { detectedAtMs } = event;
    const saidAtMsMin = detectedAtMs - lateMsMax;
    if (saidAtMsMin > claimedMs + HEARD_APART_MS) continue;
    const name = keyId(event);
    const itsMs = Math.max(saidAtMsMin - claimedMs, claimedMs - detectedAtMs, 0);
    // One in the future is by a clock that has been set back since, and was about an earlier life.
    if (claimedMs > nowMs + HEARD_APART_MS && itsMs > HEARD_APART_MS) continue;
    // Of several that were heard late, any may be the one: what is not claimed is still in the index.
    if (itsMs > (apartMs.get(name) ?? Number.POSITIVE_INFINITY)) continue;
    apartMs.set(name, itsMs);
    last.set(name, event);
  }
  return last;
}

/**
 * Whether another replica has claimed it: not if the claim was about an earlier life of its key, nor
 * if the index still has its deadline. A deadline that is yet to come is that of the key's next life.
 */
export function isDone(
  { detectedAtMs }: ExpiredEvent,
  last: ExpiredEvent | undefined,
  deadlineMs: number | null,
): boolean {
  if (last === undefined || detectedAtMs > last.detectedAtMs) return false;
  return deadlineMs === null || deadlineMs > detectedAtMs + NEXT_LIFE_MS;
}
