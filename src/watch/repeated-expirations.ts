/**
 * After a failover, or a restart from an older file, a server may still have keys whose expirations
 * are captured already: the deletion had not reached it. Each of them expires there once more.
 */
import { isByMark } from '../capture/sequence.js';
import type { CapturedExpiration, Deadlines } from '../deadlines/deadlines.js';
import { batchesByDatabase, keyId } from '../model/key-id.js';
import type { Session } from '../source/session.js';

const BATCH = 500;

/**
 * Makes the server expire the keys of which an expiration was captured on another one, so that it
 * says so now, and before anything that becomes of them later. Resolves with the names of those that
 * are gone then; rejects when the server or the state cannot be asked.
 */
export async function expireRepeated(
  { keyspace, barrier, marks }: Pick<Session, 'keyspace' | 'barrier' | 'marks'>,
  deadlines: Pick<Deadlines, 'recentlyCaptured'>,
  movedAtMs: number,
): Promise<ReadonlySet<string>> {
  const gone = new Set<string>();
  const isOfOther = ({ name, detectedAtMs }: CapturedExpiration) =>
    isByMark(name) ? !marks.isOfServer(name) : detectedAtMs <= movedAtMs;
  for await (const captured of deadlines.recentlyCaptured()) {
    const keys = captured.filter(isOfOther);
    for (const [, batch] of batchesByDatabase(keys, BATCH)) {
      for (const reading of await keyspace.nudge(batch)) {
        if (reading.ttl === 'missing') gone.add(keyId(reading));
      }
    }
  }
  await barrier();
  return gone;
}
