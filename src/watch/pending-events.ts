/** The buffered events that a replica captures at a take-over: those that the holder before it has not captured. */
import type { Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent, KeyEvent } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import { isFirstMark } from './mark-writer.js';

/** A relay of version 0.1 and this one receive a notification within this time of each other, unless one is busy. */
const OLDER_APART_MS = 1_000;

export interface PendingParts {
  readonly deadlines: Pick<Deadlines, 'find' | 'bringBack' | 'capturedByOlder' | 'watermark'>;
  /** The watched databases. */
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly sequence: Pick<Sequence, 'isBefore'>;
}

/**
 * The events that are not known to be captured or written to the index. The outbox drops those that are captured all
 * the same, by their names. `repeated` holds the keys whose expirations the server repeats. Resolves with all events if
 * the state cannot be read.
 */
export async function pendingEvents(
  buffered: readonly KeyEvent[],
  repeated: ReadonlySet<string>,
  parts: PendingParts,
): Promise<readonly KeyEvent[]> {
  if (buffered.length === 0) return [];
  const { deadlines, databases, routing, sequence } = parts;
  try {
    // A holder without routes for these keys may have set their entries aside.
    for (const database of databases) {
      await deadlines.bringBack(database, (key) => routing.isRouted(key));
    }
    const isDone = sequence.isBefore(await deadlines.watermark());
    const pending = buffered.filter((event) => !isDone(event));
    const captured = await capturedUnnamed(pending, repeated, parts);
    return pending.filter((event) => !captured.has(event));
  } catch {
    return buffered;
  }
}

/**
 * The expirations that are captured under no name that this replica knows: by a relay of version 0.1, which stores no
 * names; on another server, which has another sequence; or before the first mark that this replica received, when the
 * holder counted from an earlier mark. Such an expiration counts as captured if the index has no entry for it, or only
 * one for the key's next life.
 */
async function capturedUnnamed(
  events: readonly KeyEvent[],
  repeated: ReadonlySet<string>,
  { deadlines }: PendingParts,
): Promise<ReadonlySet<KeyEvent>> {
  const expired = events.filter((event): event is ExpiredEvent => event.kind === 'expired');
  const older = await deadlines.capturedByOlder(expired);
  const suspects = expired.filter((event, at) => {
    const olderMs = older[at] ?? Number.NEGATIVE_INFINITY;
    const isOlder = Math.abs(event.detectedAtMs - olderMs) <= OLDER_APART_MS;
    const { before = null, after = null } = event.interval ?? {};
    const isFirst = before === null && after !== null && !isFirstMark(after);
    return isOlder || isFirst || repeated.has(keyId(event));
  });
  const entriesMs = suspects.length === 0 ? [] : await deadlines.find(suspects);
  const isConsumed = ({ detectedAtMs }: ExpiredEvent, at: number) =>
    (entriesMs[at] ?? Number.POSITIVE_INFINITY) > detectedAtMs + CLOCK_SLACK_MS;
  return new Set<KeyEvent>(suspects.filter(isConsumed));
}
