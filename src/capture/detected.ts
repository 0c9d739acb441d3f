/**
 * When expirations were detected, by the clock of Redis. What is known of it may be some seconds old,
 * and somebody may have set it since: where the deadlines in the index make that look so, it is asked
 * again, after the notification.
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
  return ended.map((one, at) => {
    const deadlineMs = deadlines[at] ?? null;
    const detectedAtMs = Math.round(serverTime.corrected(one.expiration.detectedAtMs));
    switch (lag(one, deadlineMs)) {
      case 'usual':
        return one;
      case 'early':
        return detectedAt(one, Math.max(detectedAtMs, one.expiration.detectedAtMs));
      case 'late':
        // The clock was set back, perhaps after the key had expired.
        return detectedAt(one, Math.max(detectedAtMs, deadlineMs ?? detectedAtMs));
    }
  });
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
