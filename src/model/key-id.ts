/** Keys, told apart: there may be several of one name. */
import type { KeyInDatabase } from './vocabulary.js';

/** A text that no other key has, for maps and sets: keys are bytes, and equal in several databases. */
export function keyId({ database, key }: KeyInDatabase): string {
  return `${database}:${key.toString('latin1')}`;
}

/** Those of each database, in their order. */
function byDatabase<Key extends KeyInDatabase>(keys: readonly Key[]): Map<number, Key[]> {
  const grouped = new Map<number, Key[]>();
  for (const key of keys) {
    const its = grouped.get(key.database);
    if (its === undefined) grouped.set(key.database, [key]);
    else its.push(key);
  }
  return grouped;
}

/** The same in batches of no more than `countMax`. */
export function* batchesByDatabase<Key extends KeyInDatabase>(
  keys: readonly Key[],
  countMax: number,
): Generator<readonly [database: number, batch: readonly Key[]]> {
  for (const [database, its] of byDatabase(keys)) {
    for (let from = 0; from < its.length; from += countMax) {
      yield [database, its.slice(from, from + countMax)];
    }
  }
}
