/**
 * Corrects the times at which expirations were detected, by the clock of Redis. The last reading of the clock may be
 * some seconds old, and the clock may have been set since. If the deadlines in the index suggest that, the clock is
 * read again, after the notification.
 */

import type { ServerClock } from '../redis/server-clock.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { RoutedExpiration } from './event-queue.js';

/** Far more than a nudged key takes to expire after its deadline. */
const LATE_MS = 1_000;

/** Returns the corrected expirations. `deadlines` holds their deadlines in the index. Reads the clock at most once. */
export async function correctDetected(
  expired: readonly RoutedExpiration[],
  deadlines: readonly (number | null)[],
  serverClock: Pick<ServerClock, 'refresh' | 'corrected'>,
): Promise<readonly RoutedExpiration[]> {
  const isDoubtful = (event: RoutedExpiration, at: number) =>
    lag(event, deadlines[at] ?? null) !== 'usual';
  if (!expired.some(isDoubtful)) return expired;
  await serverClock.refresh();
  return expired.map((event, at) => corrected(event, deadlines[at] ?? null, serverClock));
}

function corrected(
  event: RoutedExpiration,
  deadlineMs: number | null,
  serverClock: Pick<ServerClock, 'corrected'>,
): RoutedExpiration {
  const readMs = event.detectedAtMs;
  const detectedAtMs = Math.round(serverClock.corrected(readMs));
  switch (lag(event, deadlineMs)) {
    case 'usual':
      return event;
    case 'early':
      return { ...event, detectedAtMs: Math.max(detectedAtMs, readMs) };
    case 'late':
      // The clock was set back, perhaps after the key had expired.
      return { ...event, detectedAtMs: Math.max(detectedAtMs, deadlineMs ?? readMs) };
  }
}

/** Whether an expiration seems to have been detected before its deadline, at about that time, or long after it. */
function lag(event: RoutedExpiration, deadlineMs: number | null): 'early' | 'usual' | 'late' {
  if (deadlineMs === null) return 'usual';
  const lateMs = event.detectedAtMs - deadlineMs;
  if (lateMs < -CLOCK_SLACK_MS) return 'early';
  return lateMs > LATE_MS && event.detectedBy === 'notification' ? 'late' : 'usual';
}
