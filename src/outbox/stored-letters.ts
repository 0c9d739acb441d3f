/** Reads dead letters and related data from Redis, and leaves out foreign entries (written by no relay). */
import { messageOf } from '../model/errors.js';
import type { DeadLetter } from '../model/vocabulary.js';
import { endpointKeys, endpointsKey, goneKey } from '../state/format.js';
import { type GoneRow, splitGone } from '../state/gone.js';
import { scoresByName } from '../state/names.js';
import { unpackDeadLetter } from '../state/packing.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { NAME } from '../state/stored.js';

/**
 * Parses the letters read under these ids, in their order; null: there is none, or it is unreadable and moved to the
 * quarantine.
 */
export async function readableLetters(
  state: RedisState,
  endpoint: string,
  ids: readonly string[],
  packed: readonly (Buffer | null)[],
): Promise<(DeadLetter | null)[]> {
  const { dead, deadOrder } = endpointKeys(state.prefix, endpoint);
  const letters: (DeadLetter | null)[] = [];
  const suspects: Suspect[] = [];
  for (const [at, id] of ids.entries()) {
    const value = packed[at] ?? null;
    letters[at] = null;
    if (value === null) continue;
    try {
      letters[at] = unpackDeadLetter(value, { endpoint, id });
    } catch (error) {
      const related = { key: deadOrder, kind: 'member', name: id } as const;
      suspects.push({
        key: dead,
        kind: 'field',
        name: id,
        value,
        reason: messageOf(error),
        related,
      });
    }
  }
  await state.setAside('dead_letters', suspects);
  return letters;
}

/** Every endpoint that has stored data, or that a running replica has. */
export async function storedEndpoints(state: RedisState): Promise<string[]> {
  const key = endpointsKey(state.prefix);
  return [...(await scoresByName(state, 'dead_letters', key, NAME)).keys()];
}

/** Reads the endpoints that answered 410; foreign fields go to the quarantine. */
export async function goneRows(state: RedisState): Promise<readonly GoneRow[]> {
  const key = goneKey(state.prefix);
  const { rows, others } = splitGone(
    await state.run('dead_letters', () => state.redis.hgetall(key)),
  );
  const suspects = others.map(
    ([name, value]): Suspect => ({
      ...{ key, kind: 'field', name, value, related: null },
      reason: 'expected <replica>:<endpoint>',
    }),
  );
  await state.setAside('dead_letters', suspects);
  return rows;
}
