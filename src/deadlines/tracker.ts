/**
 * Keeps the index of deadlines true to the keys. Every notification but `expired` only means: read
 * this key's deadline again. Several readings may be under way at the same time; one that was
 * overtaken by what was heard or read since is not written down, but made again.
 */
import { nameOf } from '../key-name.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../vocabulary.js';
import type { ChangedKey, Deadlines } from './deadlines.js';
import { EarliestDeadline } from './earliest.js';

/** Reads when keys expire; reading one whose deadline has passed makes Redis expire it. */
export interface KeyReader {
  read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]>;
}

export class Tracker {
  readonly #deadlines: Deadlines;
  /** By database. */
  readonly #earliest = new Map<number, EarliestDeadline>();
  /** For each reading under way, the names of the keys of which something was heard meanwhile. */
  readonly #overtaken = new Set<Set<string>>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Among the deadlines that are written for a database. */
  earliest(database: number): EarliestDeadline {
    const earliest = this.#earliest.get(database) ?? new EarliestDeadline();
    this.#earliest.set(database, earliest);
    return earliest;
  }

  /**
   * Reads these keys and writes down what they are now. One that is gone by now, and whose deadline was read
   * after the change, has expired by that deadline if it has passed. The deadline in the index does not count:
   * the expiration may have been claimed since. Rejects when the keys cannot be read.
   */
  async changed(keys: readonly ChangedKey[], reader: KeyReader): Promise<readonly KeyReading[]> {
    const readings = await this.#track(keys, reader, () => true);
    const known = new Map<string, number>();
    for (const key of keys) {
      if (key.readDeadlineMs !== undefined) known.set(nameOf(key), key.readDeadlineMs);
    }
    if (known.size === 0) return readings;
    const judged = readings.map((reading) => expiredBy(reading, known.get(nameOf(reading))));
    const expired = judged.filter((reading, at) => reading !== readings[at]);
    if (expired.length > 0) await this.#put(expired);
    return judged;
  }

  /**
   * The same just after their deadlines. Those that are gone stay overdue, until they are claimed; so do
   * those with a later deadline or none: what has expired may have been set again, and is yet to be claimed.
   */
  async nudged(due: readonly Deadline[], reader: KeyReader): Promise<readonly KeyReading[]> {
    const known = new Map(due.map((one) => [nameOf(one), one.deadlineMs]));
    return this.#track(due, reader, (reading) => isSameLife(reading, known.get(nameOf(reading))));
  }

  /** These keys were deleted, evicted, renamed or moved. */
  async removed(keys: readonly KeyInDatabase[]): Promise<void> {
    this.overtaken(keys);
    await this.#deadlines.remove(keys);
  }

  /** What is being read of these keys is out of date: their entries are about to go. */
  overtaken(keys: readonly KeyInDatabase[]): void {
    if (this.#overtaken.size === 0) return;
    for (const key of keys) for (const names of this.#overtaken) names.add(nameOf(key));
  }

  async #track(
    keys: readonly KeyInDatabase[],
    reader: KeyReader,
    isWritten: (reading: KeyReading) => boolean,
  ): Promise<readonly KeyReading[]> {
    const overtaken = new Set<string>();
    this.#overtaken.add(overtaken);
    let readings: readonly KeyReading[];
    try {
      readings = await reader.read(keys);
    } finally {
      this.#overtaken.delete(overtaken);
    }
    // Nothing may come between this and the writing: what removes entries does it after.
    const isLate = (key: KeyInDatabase) => overtaken.size > 0 && overtaken.has(nameOf(key));
    const current = readings.filter((reading) => !isLate(reading) && isWritten(reading));
    // Another reading of these keys that is under way may be older.
    this.overtaken(current);
    if (current.length > 0) await this.#put(current);
    const late = keys.filter(isLate);
    if (late.length > 0) await this.#track(late, reader, isWritten);
    return readings;
  }

  async #put(readings: readonly KeyReading[]): Promise<void> {
    await this.#deadlines.put(readings);
    for (const { life, database, deadlineMs } of readings) {
      if (life === 'until') this.earliest(database).add(deadlineMs);
    }
  }
}

/** Of a key that is gone: as it was read when it had the deadline that it has expired by. */
function expiredBy(reading: KeyReading, knownMs: number | undefined): KeyReading {
  if (reading.life !== 'gone' || knownMs === undefined || knownMs > reading.readAtMs) {
    return reading;
  }
  return { ...reading, life: 'until', deadlineMs: knownMs };
}

/** Whether the life that was read is, as far as can be told, the one with this deadline. */
export function isSameLife({ life, deadlineMs }: KeyReading, knownMs: number | undefined): boolean {
  return life === 'until' && knownMs !== undefined && deadlineMs <= knownMs;
}
