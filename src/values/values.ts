/**
 * The contract of the values that are kept until their keys expire, since Redis keeps none. There is
 * one for each key of which a value is wanted, that was read with its deadline:
 *
 *   keep (tracked) ──▶ kept ──keep (just before the deadline)──▶ kept ──forget (claimed, deleted)
 *
 * What is not forgotten, since a replica died in between, is by `prune`. Every implementation passes
 * the one suite in test/values/values.contract.ts. All times are by the clock of the Redis that holds
 * the keys.
 */
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import type { SizedValue } from './shape.js';

/** What was read of a key while it had this deadline. */
export interface KeptValue extends SizedValue {
  readonly deadlineMs: number;
}

/** One of these, and the key that it was read of. */
export interface ValueToKeep extends KeptValue, KeyInDatabase {}

/** A key, and which of its values is forgotten: that of this deadline, or whatever is kept. */
export interface ValueToForget extends KeyInDatabase {
  readonly deadlineMs: number | null;
}

export interface Values {
  /** One for each key, the last. May be repeated. */
  keep(values: readonly ValueToKeep[]): Promise<void>;

  /** Those of which no value of the same deadline is kept. */
  lacking(deadlines: readonly Deadline[]): Promise<readonly Deadline[]>;

  /** What is kept of each; null where nothing is. */
  read(keys: readonly KeyInDatabase[]): Promise<readonly (KeptValue | null)[]>;

  forget(keys: readonly ValueToForget[]): Promise<void>;

  /** Forgets a whole database at once: it was emptied. */
  forgetAll(database: number): Promise<void>;

  /** Forgets what is of deadlines before `untilMs` of which the index of deadlines knows nothing. */
  prune(database: number, untilMs: number): Promise<void>;
}
