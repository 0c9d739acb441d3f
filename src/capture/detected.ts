/**
 * When expirations were detected, by the clock of Redis. The last reading of the clock may be some seconds
 * old, and the clock may have been set since. Where the deadlines in the index suggest that, the clock is
 * read again, after the notification.
 */
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import type { Ended } from './lives.js';
import type { ServerTime } from './parts.js';

/** A nudged key expires much sooner after its deadline. */
const LATE_MS = 1_000;

/** `deadlines` are those of the index, in the order of `ended`. One question for all, if any. */
export async function correctDetected(
  ended: readonly Ended[],
  deadlines: readonly (number | null)[],
  serverTime: ServerTime,
): Promise<readonly Ended[]> {
  const isDoubtful = (one: Ended, at: number) => lag(one, deadlines[at] ?? null) !== 'usual';
  if (!ended.some(isDoubtful)) return ended;
  await serverTime.ask();
  return ended.map((one, at) => corrected(one, deadlines[at] ?? null, serverTime));
}

function corrected(ended: Ended, deadlineMs: number | null, serverTime: ServerTime): Ended {
  const readMs = ended.expiration.detectedAtMs;
  const detectedAtMs = Math.round(serverTime.corrected(readMs));
  switch (lag(ended, deadlineMs)) {
    case 'usual':
      return ended;
    case 'early':
      return detectedAt(ended, Math.max(detectedAtMs, readMs));
    case 'late':
      // The clock was set back, perhaps after the key had expired.
      return detectedAt(ended, Math.max(detectedAtMs, deadlineMs ?? readMs));
  }
}

/** How an expiration was detected, as it seems: before its deadline, about then, or long after it. */
function lag({ expiration }: Ended, deadlineMs: number | null): 'early' | 'usual' | 'late' {
  if (deadlineMs === null) return 'usual';
  const lateMs = expiration.detectedAtMs - deadlineMs;
  if (lateMs < -CLOCK_SLACK_MS) return 'early';
  return lateMs > LATE_MS && expiration.detectedBy === 'notification' ? 'late' : 'usual';
}

function detectedAt(ended: Ended, detectedAtMs: number): Ended {
  return { ...ended, expiration: { ...ended.expiration, detectedAtMs } };
}
