/**
 * Captures missed expirations: their keys are missing after the deadlines, and still have entries in the index. A
 * search runs when a term begins; from then on, the nudger finds such keys.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Intake } from '../capture/intake.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { livesOn, type Tracker } from '../deadlines/tracker.js';
import type { Deadline, KeyReading } from '../model/vocabulary.js';
import { keysIn, type Slots } from '../redis/slots.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';

/** Keys that are read at the beginning, while key events wait; the nudger finds the others later. */
const FIRST_MAX = 20_000;

/** Keys read together. */
const BATCH = 500;

export interface MissedParts {
  readonly database: number;
  /** The slots of the primary; the other keys are none of its. */
  readonly slots: Slots;
  readonly session: Pick<Session, 'keyspace' | 'barrier'>;
  readonly deadlines: Pick<Deadlines, 'take' | 'overdue' | 'setAside'>;
  readonly tracker: Pick<Tracker, 'readDue'>;
  readonly queue: Pick<EventQueue, 'drained'>;
  readonly intake: Pick<Intake, 'push' | 'reread' | 'room'>;
  readonly routing: Pick<Routing, 'isRouted'>;
  /** The time by the clock of the Redis that holds the keys. */
  readonly serverNowMs: () => number;
  /** Whether the database was emptied: missing keys have not expired then. */
  readonly isEmptied: () => Promise<boolean>;
}

/**
 * Reads the keys whose deadlines passed before the term, and queues the expirations of the missing ones. A key that is
 * set again before its expiration is queued hides it, unless the server publishes `created`.
 */
export async function catchUp(parts: MissedParts, signal: AbortSignal): Promise<void> {
  const { database, slots, session, deadlines, tracker, intake, serverNowMs } = parts;
  const untilMs = serverNowMs();
  for (let count = 0; count < FIRST_MAX; ) {
    const taken = await deadlines.take(database, untilMs, BATCH);
    count += taken.length;
    if (taken.length < BATCH) break;
  }
  const due = keysIn(slots, await deadlines.overdue(database, untilMs, FIRST_MAX));
  const reader = { read: session.keyspace.nudge.bind(session.keyspace) };
  const readings: KeyReading[] = [];
  for (let from = 0; from < due.length && !signal.aborted; from += BATCH) {
    readings.push(...(await tracker.readDue(due.slice(from, from + BATCH), reader)));
  }
  if (readings.length === 0) return;
  const missing = due.filter((_, at) => readings[at]?.ttl === 'missing');
  const missed = await confirmMissing(missing, parts);
  if (missed === null) return;
  // Keys that live on have other deadlines than their entries: their next expirations wait until the keys are read.
  intake.reread(readings.filter((one, at) => livesOn(one, due[at]?.deadlineMs)));
  await pushRecoveries(missed, parts, signal);
}

/**
 * Captures keys that were found missing without a notification. All published expirations are captured first: the
 * expiration of a key that still has its entry after that was missed.
 */
export async function captureMissing(
  missing: readonly Deadline[],
  parts: MissedParts,
  signal: AbortSignal,
): Promise<void> {
  const { queue } = parts;
  const missed = await confirmMissing(missing, parts);
  if (missed === null) return;
  await queue.drained(signal);
  await pushRecoveries(missed, parts, signal);
  await queue.drained(signal);
}

/**
 * Reads missing keys again. A key also seems to be missing while expiry is paused (CLIENT PAUSE), on a demoted server,
 * and after a flush; it has not expired then. Resolves with the keys that are still missing once the expirations published
 * by then are queued; with null if the database was emptied. Rejects when the server is not the primary any more.
 */
async function confirmMissing(
  missing: readonly Deadline[],
  { session, tracker, isEmptied }: MissedParts,
): Promise<readonly KeyReading[] | null> {
  // Waits while expiry is paused.
  if (await isEmptied()) return null;
  const readings = await tracker.readDue(missing, session.keyspace);
  await session.barrier();
  // Checked after the keys were read: a later flush is not the reason that they are missing.
  if (await isEmptied()) return null;
  return readings.filter(({ ttl }) => ttl === 'missing');
}

async function pushRecoveries(
  missing: readonly KeyReading[],
  { database, deadlines, intake, routing, serverNowMs }: MissedParts,
  signal: AbortSignal,
): Promise<void> {
  const detectedAtMs = Math.round(serverNowMs());
  const routed = new Set(missing.filter(({ key }) => routing.isRouted(key)));
  if (routed.size < missing.length) {
    await deadlines.setAside(missing.filter((one) => !routed.has(one)));
  }
  for (const { key } of routed) {
    await intake.room(signal);
    if (signal.aborted) return;
    intake.push({ kind: 'expired', database, key, detectedAtMs, detectedBy: 'recovery' });
  }
}
