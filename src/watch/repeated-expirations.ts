/**
 * Finds expirations that a server repeats. After a failover, or a restart with older data, a server may still have
 * keys whose expirations are already captured: the deletions had not reached it. Each of these keys expires once more.
 */
import { isByMark } from '../capture/sequence.js';
import type { CapturedName, Deadlines } from '../deadlines/deadlines.js';
import { batchesByDatabase, keyId } from '../model/key-id.js';
import type { Session } from '../source/session.js';

const BATCH = 500;

/**
 * Makes the server expire keys whose expirations were captured on another server. The server then publishes these
 * expirations now, before any later event of the keys. Resolves with the ids of the keys that are then missing; rejects
 * when the server or the state is unavailable.
 */
export async function expireRepeated(
  { keyspace, barrier, marks }: Pick<Session, 'keyspace' | 'barrier' | 'marks'>,
  deadlines: Pick<Deadlines, 'recentlyCaptured'>,
  movedAtMs: number,
): Promise<ReadonlySet<string>> {
  const missing = new Set<string>();
  const isOfOther = ({ name, detectedAtMs }: CapturedName) =>
    isByMark(name) ? !marks.isOfServer(name) : detectedAtMs <= movedAtMs;
  for await (const captured of deadlines.recentlyCaptured()) {
    const keys = captured.filter(isOfOther);
    for (const [, batch] of batchesByDatabase(keys, BATCH)) {
      for (const reading of await keyspace.nudge(batch)) {
        if (reading.ttl === 'missing') missing.add(keyId(reading));
      }
    }
  }
  await barrier();
  return missing;
}
