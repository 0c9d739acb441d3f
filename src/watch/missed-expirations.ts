/**
 * What expired unheard: its keys are gone after their deadlines, and their entries are still in the
 * index. Looked for first when listening begins, and from then on as the nudger finds it.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Intake } from '../capture/intake.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { livesOn, type Tracker } from '../deadlines/tracker.js';
import type { Deadline, KeyReading } from '../model/vocabulary.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';

/** Key events wait while these keys are read; the nudger finds the others later. */
const FIRST_MAX = 20_000;

/** Keys read together. */
const BATCH = 500;

export interface MissedParts {
  readonly database: number;
  readonly session: Pick<Session, 'keyspace' | 'barrier'>;
  readonly deadlines: Pick<Deadlines, 'take' | 'overdue' | 'setAside'>;
  readonly tracker: Pick<Tracker, 'readDue'>;
  readonly queue: Pick<EventQueue, 'drained'>;
  readonly intake: Pick<Intake, 'push' | 'reread' | 'room'>;
  readonly routing: Pick<Routing, 'isRouted'>;
  /** The time by the clock of the Redis that holds the keys. */
  readonly serverNowMs: () => number;
  /** Whether the database was emptied: what is gone has not expired then. */
  readonly isEmptied: () => Promise<boolean>;
}

/**
 * Reads the keys whose deadlines passed before, and captures those that are gone, before anything that
 * is heard of their keys. A key that is set again only then does not hide that it had expired; one that
 * was set again before it is read does, as if its life had been extended.
 */
export async function catchUp(parts: MissedParts, signal: AbortSignal): Promise<void> {
  const { database, session, deadlines, tracker, intake, serverNowMs, isEmptied } = parts;
  const untilMs = serverNowMs();
  for (let count = 0; count < FIRST_MAX; ) {
    const taken = await deadlines.take(database, untilMs, BATCH);
    count += taken.length;
    if (taken.length < BATCH) break;
  }
  const due = await deadlines.overdue(database, untilMs, FIRST_MAX);
  const reader = { read: session.keyspace.nudge.bind(session.keyspace) };
  const readings: KeyReading[] = [];
  for (let from = 0; from < due.length && !signal.aborted; from += BATCH) {
    readings.push(...(await tracker.readDue(due.slice(from, from + BATCH), reader)));
  }
  if (readings.length === 0) return;
  // Expirations that Redis publishes only now are queued before what is found here, and are not captured twice.
  await session.barrier();
  if (await isEmptied()) return;
  // Keys that live on have another deadline than the index: their next expirations wait until it is read.
  intake.reread(readings.filter((one, at) => livesOn(one, due[at]?.deadlineMs)));
  await captureGone(readings, parts, signal);
}

/**
 * Keys that were found gone, and are still not heard of. Once all that Redis said is taken care of,
 * those that still have their entries are missing indeed.
 */
export async function captureMissing(
  missing: readonly Deadline[],
  parts: MissedParts,
  signal: AbortSignal,
): Promise<void> {
  const { session, tracker, queue, isEmptied } = parts;
  // It waits as long as Redis may not expire keys; so they are read once more.
  if (await isEmptied()) return;
  const readings = await tracker.readDue(missing, session.keyspace);
  await session.barrier();
  await queue.drained(signal);
  // Looked at last: what a flush takes after this is not among the missing.
  if (await isEmptied()) return;
  await captureGone(readings, parts, signal);
  await queue.drained(signal);
}

async function captureGone(
  readings: readonly KeyReading[],
  { database, deadlines, intake, routing, serverNowMs }: MissedParts,
  signal: AbortSignal,
): Promise<void> {
  const detectedAtMs = Math.round(serverNowMs());
  const gone = readings.filter(({ ttl }) => ttl === 'missing');
  const unrouted = gone.filter(({ key }) => !routing.isRouted(key));
  if (unrouted.length > 0) await deadlines.setAside(unrouted);
  for (const { key } of gone.filter(({ key }) => routing.isRouted(key))) {
    await intake.room(signal);
    if (signal.aborted) return;
    intake.push({ kind: 'expired', database, key, detectedAtMs, detectedBy: 'recovery' });
  }
}
