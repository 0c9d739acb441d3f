/**
 * Scans all routed keys once, in batches, with pauses that leave Redis time for others: a sweep without pauses would
 * also starve the server's own expiry of keys.
 */
import type { Clock } from '../lib/clock.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import type { Keyspace } from '../source/keyspace.js';

/** Slots that one SCAN visits: less than a millisecond of Redis's time, and little garbage in this process. */
const SCAN_COUNT = 500;

export interface SweepParts {
  readonly keyspace: Pick<Keyspace, 'scan'>;
  readonly database: number;
  /** A glob for SCAN, so that Redis returns few other keys; null: all keys. */
  readonly glob: string | null;
  /** Selects among the scanned keys. */
  readonly isRouted: (key: Buffer) => boolean;
  /** Returns the share of the time to spend, 0 to 1; the rest is pauses. */
  readonly share: () => number;
  readonly clock: Clock;
}

/** Yields batches of keys. A key that exists during the whole sweep is yielded at least once. */
export async function* sweep(
  parts: SweepParts,
  signal: AbortSignal,
): AsyncGenerator<readonly KeyInDatabase[]> {
  const { keyspace, database, glob, isRouted, share, clock } = parts;
  let cursor = '0';
  do {
    const beganAtMs = clock.monotonicMs();
    const { next, keys } = await keyspace.scan(database, cursor, glob, SCAN_COUNT);
    cursor = next;
    const found = keys.filter(isRouted);
    if (found.length > 0) yield found.map((key) => ({ database, key }));
    await pace(beganAtMs, share(), clock, signal);
  } while (cursor !== '0' && !signal.aborted);
}

/** Pauses until the time spent since `beganAtMs` is at most this share (0 to 1) of the whole. */
export async function pace(
  beganAtMs: number,
  share: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const spentMs = clock.monotonicMs() - beganAtMs;
  await clock.sleep(spentMs / share - spentMs, signal);
}
