/**
 * The contract of the index of deadlines: which keys will expire, and when. The index is level-triggered: an entry is
 * the last reading of its key. A missed or repeated notification can only make the entry stale; the nudge, which reads
 * the key at its deadline, corrects it. An entry is in one place:
 *
 *   put ──▶ tracked ──take, for its deadline─▶ overdue ──consumed (outbox.ts)──▶ (deleted)
 *              ▲                                  │
 *              └──────put, if the key lives───────┘
 *
 * All implementations pass the same suite, test/deadlines/deadlines.contract.ts. All times are milliseconds by the
 * clock of the Redis that holds the keys.
 */
import type { ChangedEvent, Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';

/** A key whose deadline must be read, and the deadline that was read before, if any. */
export type ChangedKey = KeyInDatabase & Pick<ChangedEvent, 'readDeadlineMs'>;

/** An expiration of a key, identified by a name. */
export interface ExpirationName extends KeyInDatabase {
  readonly name: string;
}

/** One of the names under which an expiration was captured. */
export interface CapturedName extends ExpirationName {
  readonly detectedAtMs: number;
}

export interface Deadlines {
  /**
   * Writes readings to the index: one entry for each key, its last reading. A missing key loses its entry only if its
   * deadline had not passed: otherwise it has probably expired, and the expiration is yet to be captured. A key that is
   * elsewhere keeps its entry. May be repeated.
   */
  put(readings: readonly KeyReading[]): Promise<void>;

  /** Deletes the entries of these keys, whatever their deadlines: the keys were removed, and did not expire. */
  remove(keys: readonly KeyInDatabase[]): Promise<void>;

  /**
   * Takes up to `countMax` tracked entries of a database with deadlines of at most `untilMs`, earliest first. The
   * entries are overdue from now on.
   */
  take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]>;

  /**
   * Up to `countMax` overdue entries of a database with deadlines of at most `untilMs`, earliest first, without the first
   * `skipped` ones.
   */
  overdue(
    database: number,
    untilMs: number,
    countMax: number,
    skipped?: number,
  ): Promise<readonly Deadline[]>;

  /** The deadline of each of these keys, tracked or overdue; null where there is no entry. */
  find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;

  /** Whether each of these is a name of a recently captured expiration. */
  areCaptured(names: readonly ExpirationName[]): Promise<readonly boolean[]>;

  /** The names of recently captured expirations, in batches. */
  recentlyCaptured(): AsyncIterable<readonly CapturedName[]>;

  /**
   * When relays of version 0.1 detected the last expiration of each key that they captured; null if none is recorded.
   */
  capturedByOlder(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;

  /**
   * Stores the watermark: the events before these marks, one of each primary, are captured or written to the index.
   */
  advanceWatermark(marks: readonly string[]): Promise<void>;

  /** The watermark; empty if there is none, or if a replica of another configuration stored it. */
  watermark(): Promise<readonly string[]>;

  /**
   * Sets the entries of these keys aside: the keys expired, and match no route of this replica. A replica with another
   * configuration may have had a route for them, and may come back.
   */
  setAside(keys: readonly KeyInDatabase[]): Promise<void>;

  /** Makes entries that were set aside overdue again, if their keys match a route of this replica. */
  bringBack(database: number, isRouted: (key: Buffer) => boolean): Promise<void>;

  /** Deletes entries that were set aside, with deadlines of at most `untilMs`. */
  forgetAside(database: number, untilMs: number): Promise<void>;

  /** Yields the tracked keys of a database, in batches; a key that stays tracked is yielded at least once. */
  scan(database: number): AsyncIterable<readonly KeyInDatabase[]>;

  /** The earliest tracked deadline of a database; null when nothing is tracked. */
  earliestMs(database: number): Promise<number | null>;

  /** The number of entries in all databases. */
  count(): Promise<number>;

  /** Deletes all entries of a database at once: it was emptied. Resolves with the number of entries. */
  forget(database: number): Promise<number>;
}
