/**
 * The contract of the deadline index: which keys will expire, and when. It is level-triggered: an
 * entry is what was last read of its key, so that a missed or repeated notification can only make
 * it stale, and the nudge, which reads the key at its deadline, mends it. An entry is in one place:
 *
 *   put ──▶ tracked ──take, for its deadline─▶ overdue ──claimed (outbox.ts)──▶ (forgotten)
 *              ▲                                  │
 *              └──────put, if the key lives───────┘
 *
 * Every implementation passes the one suite in test/deadlines/deadlines.contract.ts. All times are
 * milliseconds by the clock of the Redis that holds the keys.
 */
import type { ChangedEvent, Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';

/** A key whose deadline is to be read, and the one that was read of it before. */
export type ChangedKey = KeyInDatabase & Pick<ChangedEvent, 'readDeadlineMs'>;

/** An expiration that was captured in the last seconds, under one of its names. */
export interface CapturedExpiration extends KeyInDatabase {
  readonly name: string;
  readonly detectedAtMs: number;
}

export interface Deadlines {
  /**
   * Writes down what was read: one entry a key, the last reading. A key that is gone loses its entry
   * only if it went before its deadline: otherwise it has probably expired, and is yet to be claimed.
   * A key that is elsewhere keeps its entry. May be repeated.
   */
  put(readings: readonly KeyReading[]): Promise<void>;

  /** Forgets these keys, whatever their deadlines: they were seen to go for another reason. */
  remove(keys: readonly KeyInDatabase[]): Promise<void>;

  /**
   * Up to `countMax` tracked entries of a database whose deadlines are at most `untilMs`, earliest
   * first. The entries are overdue from now on.
   */
  take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]>;

  /** Up to `countMax` overdue entries of a database with deadlines of at most `untilMs`, earliest first. */
  overdue(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]>;

  /** The deadline of each of these keys, tracked or overdue; null where there is no entry. */
  find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;

  /** The expirations that were captured in the last seconds, in batches. */
  recentlyCaptured(): AsyncIterable<readonly CapturedExpiration[]>;

  /**
   * When relays of version 0.1 detected the last expiration of each key that they captured; null where that is more
   * than some twenty seconds ago.
   */
  capturedByOlder(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;

  /** All events that Redis published before this mark are captured or written down. */
  settle(mark: string): Promise<void>;

  /** The last of these marks, by a replica of the same configuration; null where there is none. */
  settledMark(): Promise<string | null>;

  /**
   * These keys expired, and match no route of this replica. Their entries are set aside: a replica with
   * another configuration may have had a route for them, and may come back.
   */
  setAside(keys: readonly KeyInDatabase[]): Promise<void>;

  /** Entries that were set aside, and that match a route of this replica, are overdue again. */
  bringBack(database: number, isRouted: (key: Buffer) => boolean): Promise<void>;

  /** Forgets entries that were set aside, with deadlines of at most `untilMs`. */
  forgetAside(database: number, untilMs: number): Promise<void>;

  /** The tracked keys of a database, in batches; one that stays tracked comes at least once. */
  scan(database: number): AsyncIterable<readonly KeyInDatabase[]>;

  /** The earliest tracked deadline of a database; null when nothing is tracked. */
  earliestMs(database: number): Promise<number | null>;

  /** How many entries there are, in all databases. */
  count(): Promise<number>;

  /** Forgets a whole database at once: it was emptied. Resolves with how many entries it had. */
  forget(database: number): Promise<number>;
}
