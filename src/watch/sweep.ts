/**
 * Goes through all keys that routes are about, once, in whole batches, and leaves Redis most of its
 * time to others: a sweep that never pauses would starve its own expiry of keys, too.
 */
import type { Clock } from '../lib/clock.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import type { Keyspace } from '../source/keyspace.js';

/** Slots that one SCAN looks at: less than a millisecond of Redis's time, and little garbage here. */
const SCAN_COUNT = 500;

export interface SweepParts {
  readonly keyspace: Pick<Keyspace, 'scan'>;
  readonly database: number;
  /** Redis's own glob, to leave most keys where they are; null looks at every key. */
  readonly glob: string | null;
  /** Which of the keys that were found are wanted. */
  readonly isWanted: (key: Buffer) => boolean;
  /** The share of the time, 0 to 1, that is spent; the rest is pauses. */
  readonly share: number;
  readonly clock: Clock;
}

/** Batches of keys; a key that is there from beginning to end comes at least once. */
export async function* sweep(
  parts: SweepParts,
  signal: AbortSignal,
): AsyncGenerator<readonly KeyInDatabase[]> {
  const { keyspace, database, glob, isWanted, share, clock } = parts;
  let cursor = '0';
  do {
    const beganAtMs = clock.monotonicMs();
    const { next, keys } = await keyspace.scan(database, cursor, glob, SCAN_COUNT);
    cursor = next;
    const found = keys.filter(isWanted);
    if (found.length > 0) yield found.map((key) => ({ database, key }));
    await pace(beganAtMs, share, clock, signal);
  } while (cursor !== '0' && !signal.aborted);
}

/** Pauses until what has been spent since is no more than this share (0 to 1) of the time. */
export async function pace(
  beganAtMs: number,
  share: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const spentMs = clock.monotonicMs() - beganAtMs;
  await clock.sleep(spentMs / share - spentMs, signal);
}
