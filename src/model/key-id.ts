/** Identifies keys: several databases may have a key of the same name. */
import type { KeyInDatabase } from './vocabulary.js';

/** A string that is unique per key, for maps and sets: keys are bytes, and exist per database. */
export function keyId({ database, key }: KeyInDatabase): string {
  return `${database}:${key.toString('latin1')}`;
}

/** Groups keys by database, keeping their order. */
function byDatabase<Key extends KeyInDatabase>(keys: readonly Key[]): Map<number, Key[]> {
  const grouped = new Map<number, Key[]>();
  for (const key of keys) {
    const its = grouped.get(key.database);
    if (its === undefined) grouped.set(key.database, [key]);
    else its.push(key);
  }
  return grouped;
}

/** Groups keys by database into batches of at most `countMax`. */
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
