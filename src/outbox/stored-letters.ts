/** Dead letters and what belongs to them as they lie in Redis: what no relay has written is left out. */
import { messageOf } from '../errors.js';
import { endpointKeys, endpointsKey, goneKey, readGoneField } from '../state/format.js';
import { scoresByName } from '../state/names.js';
import { unpackDeadLetter } from '../state/packing.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { NAME, REPLICA } from '../state/stored.js';
import type { DeadLetter } from '../vocabulary.js';

/** The letters among what was read under these ids; those that cannot be read are moved to the quarantine. */
export async function readableLetters(
  state: RedisState,
  endpoint: string,
  ids: readonly string[],
  packed: readonly (Buffer | null)[],
): Promise<DeadLetter[]> {
  const { dead, deadOrder } = endpointKeys(state.prefix, endpoint);
  const letters: DeadLetter[] = [];
  const suspects: Suspect[] = [];
  for (const [at, id] of ids.entries()) {
    const value = packed[at] ?? null;
    if (value === null) continue;
    try {
      letters.push(unpackDeadLetter(value, { endpoint, id }));
    } catch (error) {
      const related = { key: deadOrder, kind: 'member', name: id } as const;
      suspects.push({ key: dead, kind: 'field', name: id, value, why: messageOf(error), related });
    }
  }
  await state.setAside('dead_letters', suspects);
  return letters;
}

/** Every endpoint that has something in the state, or that a running replica has. */
export async function storedEndpoints(state: RedisState): Promise<string[]> {
  const key = endpointsKey(state.prefix);
  return [...(await scoresByName(state, 'dead_letters', key, NAME)).keys()];
}

/** Which replica an endpoint has answered 410, and where that replica is. */
export interface GoneRow {
  readonly replica: string;
  readonly endpoint: string;
  readonly instance: string;
}

export async function goneRows(state: RedisState): Promise<readonly GoneRow[]> {
  const key = goneKey(state.prefix);
  const all = await state.run('dead_letters', () => state.redis.hgetall(key));
  const rows: GoneRow[] = [];
  const suspects: Suspect[] = [];
  for (const [field, instance] of Object.entries(all)) {
    const { replica, endpoint } = readGoneField(field);
    if (REPLICA.test(replica) && NAME.test(endpoint)) rows.push({ replica, endpoint, instance });
    else {
      const found = { key, kind: 'field', name: field, value: instance } as const;
      suspects.push({ ...found, why: 'expected <replica>:<endpoint>', related: null });
    }
  }
  await state.setAside('dead_letters', suspects);
  return rows;
}
