/** What a replica has heard that the one before it has not settled: what is left to do at a take-over. */

import type { Deadlines } from '../deadlines/deadlines.js';
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent, KeyEvent, KeyInDatabase } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import { isDone, lastClaimed } from './done.js';
import type { BufferedEvent } from './replay-buffer.js';

export interface UnsettledParts {
  readonly deadlines: Pick<Deadlines, 'find' | 'bringBack' | 'claimedLately' | 'settledUntilMs'>;
  /** Those that are watched. */
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly serverClock: Pick<ServerClock, 'nowMs' | 'refresh' | 'corrected' | 'correctedWritten'>;
}

/** What was heard by then is settled. A time in the future is by a clock that has been set back since. */
export function settledBy(untilMs: number | null, nowMs: number): number {
  return untilMs !== null && untilMs <= nowMs ? untilMs : Number.NEGATIVE_INFINITY;
}

/**
 * All but the expirations that another replica has captured, and the notices whose deadlines it has
 * written down: a key that is gone by now would hide its deadline if it was read again. `repeated` are
 * keys whose expirations a server repeats. When the state cannot be read, all of it.
 */
export async function unsettled(
  buffered: readonly BufferedEvent[],
  repeated: ReadonlySet<string>,
  parts: UnsettledParts,
): Promise<readonly KeyEvent[]> {
  if (buffered.length === 0) return [];
  const { deadlines, databases, routing, serverClock } = parts;
  // The clock may have been set since: the other replica may have known of it, and this one not yet.
  await serverClock.refresh();
  try {
    // A replica without routes for them may have set their entries aside.
    for (const database of databases) {
      await deadlines.bringBack(database, (key) => routing.isRouted(key));
    }
    const settledMs = settledBy(await deadlines.settledUntilMs(), serverClock.nowMs());
    const expired = await uncaptured(buffered, repeated, settledMs, parts);
    const changes = buffered.flatMap(({ event }) => {
      const isLeft = serverClock.corrected(event.detectedAtMs) > settledMs;
      return event.kind !== 'expired' && isLeft ? [event] : [];
    });
    const claimed = await claimedLately(changes, parts);
    const left = new Map<KeyEvent, KeyEvent>(
      changes.map((event, at) => [event, withoutClaimed(event, claimed[at] ?? null)]),
    );
    return buffered.flatMap(({ event }) => {
      if (event.kind === 'expired') return expired.has(event) ? [event] : [];
      return left.get(event) ?? [];
    });
  } catch {
    // Sent twice rather than never; of the deadlines, it is not known which are of expirations that are done.
    return buffered.map(({ event }) => withoutDeadline(event));
  }
}

/** The expirations in the buffer that no replica has captured. */
async function uncaptured(
  buffered: readonly BufferedEvent[],
  repeated: ReadonlySet<string>,
  settledMs: number,
  parts: UnsettledParts,
): Promise<ReadonlySet<KeyEvent>> {
  const { deadlines, serverClock } = parts;
  const original = buffered.filter(
    (one): one is BufferedEvent<ExpiredEvent> => one.event.kind === 'expired',
  );
  const expired = original.map(({ event, lateMsMax }) => {
    const detectedAtMs = serverClock.corrected(event.detectedAtMs);
    return { event: { ...event, detectedAtMs }, lateMsMax };
  });
  const events = expired.map(({ event }) => event);
  const claimed = await claimedLately(events, parts);
  const known = await deadlines.find(events);
  const last = lastClaimed(expired, claimed, serverClock.nowMs());
  const isLeft = (event: ExpiredEvent, knownMs: number | null) => {
    const name = keyId(event);
    if (event.detectedAtMs <= settledMs) return false;
    if (repeated.has(name) && knownMs === null) return false;
    return !isDone(event, last.get(name), knownMs);
  };
  return new Set<KeyEvent>(
    original.flatMap(({ event }, at) =>
      isLeft(events[at] ?? event, known[at] ?? null) ? [event] : [],
    ),
  );
}

async function claimedLately(
  keys: readonly KeyInDatabase[],
  { deadlines, serverClock }: UnsettledParts,
): Promise<readonly (number | null)[]> {
  return (await deadlines.claimedLately(keys)).map((atMs) =>
    atMs === null ? null : serverClock.correctedWritten(atMs),
  );
}

/** A deadline that was read, and whose life has been captured, says nothing of the life that followed. */
function withoutClaimed(event: KeyEvent, claimedMs: number | null): KeyEvent {
  if (event.kind !== 'changed' || event.readDeadlineMs === undefined) return event;
  const isOver = claimedMs !== null && claimedMs >= event.readDeadlineMs - CLOCK_SLACK_MS;
  return isOver ? withoutDeadline(event) : event;
}

function withoutDeadline(event: KeyEvent): KeyEvent {
  if (event.kind !== 'changed') return event;
  const { readDeadlineMs: _, ...change } = event;
  return change;
}
