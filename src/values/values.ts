/**
 * The contract of kept values: Redis deletes values with their keys, so they are kept until the keys expire. A key
 * whose value a route needs has one value, which was read with its deadline:
 *
 *   keep (tracked) ──▶ kept ──keep (just before the deadline)──▶ kept ──forget (captured, deleted)
 *
 * Values that a crashed replica has not deleted are deleted by `prune`. Every implementation passes the test suite in
 * test/values/values.contract.ts. All times are by the clock of the Redis that holds the keys.
 */
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import type { SizedValue } from './shape.js';

/** The value that a key had while it had this deadline. */
export interface KeptValue extends SizedValue {
  readonly deadlineMs: number;
}

/** A value to keep, and its key. */
export interface ValueToKeep extends KeptValue, KeyInDatabase {}

/** A key whose value is deleted: the one with this deadline, or (null) any. */
export interface ValueToForget extends KeyInDatabase {
  readonly deadlineMs: number | null;
}

export interface Values {
  /** Stores the last value of each key. May be repeated. */
  keep(values: readonly ValueToKeep[]): Promise<void>;

  /** The deadlines without a kept value of the same deadline. */
  findMissing(deadlines: readonly Deadline[]): Promise<readonly Deadline[]>;

  /** The kept value of each key; null: none. */
  read(keys: readonly KeyInDatabase[]): Promise<readonly (KeptValue | null)[]>;

  forget(keys: readonly ValueToForget[]): Promise<void>;

  /** Deletes all values of a database that was emptied. */
  forgetAll(database: number): Promise<void>;

  /** Deletes values of deadlines before `untilMs` whose keys are not in the deadline index. */
  prune(database: number, untilMs: number): Promise<void>;
}
