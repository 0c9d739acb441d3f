/**
 * Keeps the index of deadlines true to the keys. Every notification but `expired` only means: read
 * this key's deadline again. Several readings may be under way at the same time; one that was
 * overtaken by what was heard or read since is not written down, but made again.
 */
import { keyId } from '../model/key-id.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { ChangedKey, Deadlines } from './deadlines.js';
import { EarliestDeadline } from './earliest-deadline.js';

/** Reads when keys expire; reading one whose deadline has passed makes Redis expire it. */
export interface KeyReader {
  read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]>;
}

/** Deadlines that are kept when they are taken out of the index: some 4 MB. Beyond it the index is asked. */
const TAKEN_MAX = 20_000;

export class Tracker {
  readonly #deadlines: Deadlines;
  /**
   * By key, the deadlines that were taken out of the index for their nudges, the oldest first: their expirations, a
   * moment later, need not ask for them. Only the holder of the lease writes the index.
   */
  readonly #taken = new Map<string, number>();
  /** By database. */
  readonly #earliest = new Map<number, EarliestDeadline>();
  /** For each reading under way, the names of the keys of which something was heard meanwhile. */
  readonly #overtaken = new Set<Set<string>>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Another replica may have written the index: nothing is known of it. */
  clear(): void {
    this.#taken.clear();
  }

  /** As the index does, and keeps what it has taken. */
  async take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const { result: taken, overtaken } = await this.#watchOvertaken(() =>
      this.#deadlines.take(database, untilMs, countMax),
    );
    for (const deadline of taken) {
      const id = keyId(deadline);
      if (!overtaken.has(id)) this.#taken.set(id, deadline.deadlineMs);
    }
    for (const id of this.#taken.keys()) {
      if (this.#taken.size <= TAKEN_MAX) break;
      this.#taken.delete(id);
    }
    return taken;
  }

  /** The deadline of each of these keys in the index, tracked or overdue; null where there is no entry. */
  async find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    const found = keys.map((key) => this.#taken.get(keyId(key)) ?? null);
    const unknown = keys.flatMap((key, at) => (found[at] === null ? [{ key, at }] : []));
    if (unknown.length === 0) return found;
    const stored = await this.#deadlines.find(unknown.map(({ key }) => key));
    for (const [n, { at }] of unknown.entries()) found[at] = stored[n] ?? null;
    return found;
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
  async reread(keys: readonly ChangedKey[], reader: KeyReader): Promise<readonly KeyReading[]> {
    const readings = await this.#track(keys, reader, () => true);
    const known = new Map<string, number>();
    for (const key of keys) {
      if (key.readDeadlineMs !== undefined) known.set(keyId(key), key.readDeadlineMs);
    }
    if (known.size === 0) return readings;
    const judged = readings.map((reading) => expiredBy(reading, known.get(keyId(reading))));
    const expired = judged.filter((reading, at) => reading !== readings[at]);
    if (expired.length > 0) await this.#put(expired);
    return judged;
  }

  /**
   * The same just after their deadlines. Those that are gone stay overdue, until they are claimed; so do
   * those with a later deadline or none: what has expired may have been set again, and is yet to be claimed.
   */
  async readDue(due: readonly Deadline[], reader: KeyReader): Promise<readonly KeyReading[]> {
    const known = new Map(due.map((one) => [keyId(one), one.deadlineMs]));
    return this.#track(due, reader, (reading) => isSameLife(reading, known.get(keyId(reading))));
  }

  /** These keys were deleted, evicted, renamed or moved. */
  async remove(keys: readonly KeyInDatabase[]): Promise<void> {
    this.invalidate(keys);
    await this.#deadlines.remove(keys);
  }

  /** The entries of these keys are about to change: what is known of them, or being read, is out of date. */
  invalidate(keys: readonly KeyInDatabase[]): void {
    if (this.#overtaken.size + this.#taken.size === 0) return;
    for (const key of keys) {
      const id = keyId(key);
      this.#taken.delete(id);
      for (const ids of this.#overtaken) ids.add(id);
    }
  }

  async #track(
    keys: readonly KeyInDatabase[],
    reader: KeyReader,
    isWritten: (reading: KeyReading) => boolean,
  ): Promise<readonly KeyReading[]> {
    const { result: readings, overtaken } = await this.#watchOvertaken(() => reader.read(keys));
    // Nothing may come between this and the writing: what removes entries does it after.
    const isLate = (key: KeyInDatabase) => overtaken.size > 0 && overtaken.has(keyId(key));
    const current = readings.filter((reading) => !isLate(reading) && isWritten(reading));
    // Another reading of these keys that is under way may be older.
    this.invalidate(current);
    if (current.length > 0) await this.#put(current);
    const late = keys.filter(isLate);
    if (late.length > 0) await this.#track(late, reader, isWritten);
    return readings;
  }

  /** Resolves with what the step does, and with the keys that were invalidated meanwhile. */
  async #watchOvertaken<Result>(
    step: () => Promise<Result>,
  ): Promise<{ readonly result: Result; readonly overtaken: ReadonlySet<string> }> {
    const overtaken = new Set<string>();
    this.#overtaken.add(overtaken);
    try {
      return { result: await step(), overtaken };
    } finally {
      this.#overtaken.delete(overtaken);
    }
  }

  async #put(readings: readonly KeyReading[]): Promise<void> {
    await this.#deadlines.put(readings);
    for (const { ttl, database, deadlineMs } of readings) {
      if (ttl === 'volatile') this.earliest(database).add(deadlineMs);
    }
  }
}

/** Of a key that is gone: as it was read when it had the deadline that it has expired by. */
function expiredBy(reading: KeyReading, knownMs: number | undefined): KeyReading {
  if (reading.ttl !== 'missing' || knownMs === undefined || knownMs > reading.readAtMs) {
    return reading;
  }
  return { ...reading, ttl: 'volatile', deadlineMs: knownMs };
}

/** Whether the life that was read is, as far as can be told, the one with this deadline. */
export function isSameLife({ ttl, deadlineMs }: KeyReading, knownMs: number | undefined): boolean {
  return ttl === 'volatile' && knownMs !== undefined && deadlineMs <= knownMs;
}

/** Whether the key is there after this deadline, by another one or by none. */
export function livesOn(reading: KeyReading, knownMs: number | undefined): boolean {
  return reading.ttl !== 'missing' && !isSameLife(reading, knownMs);
}
