/** Sorted sets of the state whose members are names of replicas or endpoints, scored by heartbeat. */
import type { StateOperation } from './health.js';
import type { Suspect } from './quarantine.js';
import type { RedisState } from './redis-state.js';
import { entriesOf } from './stored.js';

/** The score of each name, as a string from Redis. Members that are not names go to the quarantine. */
export async function scoresByName(
  state: RedisState,
  operation: StateOperation,
  key: string,
  pattern: RegExp,
): Promise<ReadonlyMap<string, string>> {
  const reply = await state.run(operation, () =>
    state.redis.zrangeBuffer(key, 0, '-1', 'WITHSCORES'),
  );
  const scores = new Map<string, string>();
  const suspects: Suspect[] = [];
  for (const { member, score } of entriesOf(reply)) {
    const name = member.toString();
    if (pattern.test(name)) scores.set(name, score);
    else {
      const found = { key, kind: 'member', name: member, value: score } as const;
      suspects.push({ ...found, reason: 'not a name', related: null });
    }
  }
  await state.setAside(operation, suspects);
  return scores;
}
