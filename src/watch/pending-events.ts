/** The buffered events that a replica captures at a take-over: those that the holder before it has not captured. */
import { namesOf, type Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent, KeyEvent } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import { isFirstMark } from './mark-writer.js';

/** A relay of version 0.1 and this one receive a notification within this time of each other, unless one is busy. */
const OLDER_APART_MS = 1_000;

export interface PendingParts {
  readonly deadlines: Pick<
    Deadlines,
    'find' | 'bringBack' | 'areCaptured' | 'capturedByOlder' | 'watermark'
  >;
  /** The watched databases. */
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly sequence: Pick<Sequence, 'isBefore'>;
}

/**
 * The events that are neither captured nor written to the index. Call with the lease, when all events are buffered that
 * another replica can have captured: no other replica captures any more. `repeated` holds the keys whose expirations
 * the server repeats. Rejects if the state is unavailable.
 */
export async function pendingEvents(
  buffered: readonly KeyEvent[],
  repeated: ReadonlySet<string>,
  parts: PendingParts,
): Promise<readonly KeyEvent[]> {
  if (buffered.length === 0) return [];
  const { deadlines, databases, routing, sequence } = parts;
  // A holder without routes for these keys may have set their entries aside.
  for (const database of databases) {
    await deadlines.bringBack(database, (key) => routing.isRouted(key));
  }
  const isDone = sequence.isBefore(await deadlines.watermark());
  const events = buffered.filter((event) => !isDone(event));
  const expired = events.filter((event): event is ExpiredEvent => event.kind === 'expired');
  const isNamed = await capturedByName(expired, deadlines);
  const unnamed = expired.filter((event) => !isNamed.has(event));
  const isUnnamed = await capturedUnnamed(unnamed, repeated, deadlines);
  return withoutCaptured(events, new Set([...isNamed, ...isUnnamed]));
}

/** The expirations that are captured under a name that this replica knows. */
async function capturedByName(
  expired: readonly ExpiredEvent[],
  deadlines: PendingParts['deadlines'],
): Promise<ReadonlySet<KeyEvent>> {
  const names = expired.flatMap((event) =>
    namesOf({ ...event, isReplayed: true }).map((name) => ({ event, name })),
  );
  const captured = await deadlines.areCaptured(
    names.map(({ event: { database, key }, name }) => ({ database, key, name })),
  );
  return new Set(names.filter((_, at) => captured[at] === true).map(({ event }) => event));
}

/**
 * The expirations that are captured under no name that this replica knows: by a relay of version 0.1, which stores no
 * names; on another server, which has another sequence; or before the first mark that this replica received, when the
 * holder counted from an earlier mark. Such an expiration counts as captured if the index has no
 * entry for it, or only one for the key's next life.
 */
async function capturedUnnamed(
  expired: readonly ExpiredEvent[],
  repeated: ReadonlySet<string>,
  deadlines: PendingParts['deadlines'],
): Promise<ReadonlySet<KeyEvent>> {
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
  return new Set(suspects.filter(isConsumed));
}

/** Drops captured expirations, and the changes before them: a deadline that was read then is over. */
function withoutCaptured(
  events: readonly KeyEvent[],
  captured: ReadonlySet<KeyEvent>,
): readonly KeyEvent[] {
  const over = new Set<string>();
  const pending = events.toReversed().filter((event) => {
    if (captured.has(event)) over.add(keyId(event));
    return !captured.has(event) && (event.kind === 'expired' || !over.has(keyId(event)));
  });
  return pending.reverse();
}
