/**
 * After a failover, or a restart from an older file, a server may still have keys whose expirations
 * are captured already: the deletion had not reached it. Each of them expires there once more.
 */
import { batchesByDatabase, keyId } from '../model/key-id.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import type { Session } from '../source/session.js';

const BATCH = 500;

/**
 * Makes the server expire the keys of which an expiration was captured on another one, so that it
 * says so now, and before anything that becomes of them later. Resolves with the names of those that
 * are gone then; rejects when the server or the state cannot be asked.
 */
export async function expireRepeated(
  { keyspace, barrier }: Pick<Session, 'keyspace' | 'barrier'>,
  claimed: AsyncIterable<readonly KeyInDatabase[]>,
): Promise<ReadonlySet<string>> {
  const gone = new Set<string>();
  for await (const keys of claimed) {
    for (const [, batch] of batchesByDatabase(keys, BATCH)) {
      for (const reading of await keyspace.nudge(batch)) {
        if (reading.ttl === 'missing') gone.add(keyId(reading));
      }
    }
  }
  await barrier();
  return gone;
}
