/** What a replica has heard that the one before it has not settled: what is left to do at a take-over. */
import type { Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent, KeyEvent } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import { beginsTerm } from './mark-writer.js';

/** A relay of version 0.1 and this one hear an expiration at about the same time, unless one is busy. */
const OLDER_APART_MS = 1_000;

export interface UnsettledParts {
  readonly deadlines: Pick<Deadlines, 'find' | 'bringBack' | 'capturedByOlder' | 'settledMark'>;
  /** Those that are watched. */
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly sequence: Pick<Sequence, 'isBefore'>;
}

/**
 * The events that are not known to be captured or written down. Those of them that are captured all the same have
 * names that the outbox knows. `repeated` are keys whose expirations a server repeats. When the state cannot be read,
 * all events.
 */
export async function unsettled(
  buffered: readonly KeyEvent[],
  repeated: ReadonlySet<string>,
  parts: UnsettledParts,
): Promise<readonly KeyEvent[]> {
  if (buffered.length === 0) return [];
  const { deadlines, databases, routing, sequence } = parts;
  try {
    // A replica without routes for them may have set their entries aside.
    for (const database of databases) {
      await deadlines.bringBack(database, (key) => routing.isRouted(key));
    }
    const isSettled = sequence.isBefore(await deadlines.settledMark());
    const left = buffered.filter((event) => !isSettled(event));
    const captured = await capturedUnnamed(left, repeated, parts);
    return left.filter((event) => !captured.has(event));
  } catch {
    return buffered;
  }
}

/**
 * The expirations that are captured under no name that is known here: relays of version 0.1 store none, another server
 * publishes other events, and before the first mark that this replica heard the holder captured by the mark before it.
 * The index still has the deadline of an expiration that is not captured.
 */
async function capturedUnnamed(
  events: readonly KeyEvent[],
  repeated: ReadonlySet<string>,
  { deadlines }: UnsettledParts,
): Promise<ReadonlySet<KeyEvent>> {
  const expired = events.filter((event): event is ExpiredEvent => event.kind === 'expired');
  const older = await deadlines.capturedByOlder(expired);
  const suspects = expired.filter((event, at) => {
    const olderMs = older[at] ?? Number.NEGATIVE_INFINITY;
    const isOlder = Math.abs(event.detectedAtMs - olderMs) <= OLDER_APART_MS;
    const { before = null, after = null } = event.interval ?? {};
    const isFirst = before === null && after !== null && !beginsTerm(after);
    return isOlder || isFirst || repeated.has(keyId(event));
  });
  const entriesMs = suspects.length === 0 ? [] : await deadlines.find(suspects);
  const isOfNextLife = ({ detectedAtMs }: ExpiredEvent, at: number) =>
    (entriesMs[at] ?? Number.POSITIVE_INFINITY) > detectedAtMs + CLOCK_SLACK_MS;
  return new Set<KeyEvent>(suspects.filter(isOfNextLife));
}
