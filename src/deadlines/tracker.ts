/**
 * Keeps the index of deadlines up to date with the keys. A notification of a change only means that the deadline of the
 * key must be read again. Several readings may be in progress at the same time. A reading that was overtaken by an
 * event or by another reading is not written to the index, but repeated.
 */
import { keyId } from '../model/key-id.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { ChangedKey, Deadlines } from './deadlines.js';
import { EarliestDeadline } from './earliest-deadline.js';

/** Reads when keys expire; reading one whose deadline has passed makes Redis expire it. */
export interface KeyReader {
  read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]>;
}

/** Taken deadlines that are kept in this process, some 4 MB. The index is queried for others. */
const TAKEN_MAX = 20_000;

export class Tracker {
  readonly #deadlines: Deadlines;
  /**
   * By key, the deadlines that were taken for their nudges, the oldest first. Capture needs them a moment later, and
   * finds them without a query. No other replica changes the index meanwhile: only the holder of the lease writes it.
   */
  readonly #taken = new Map<string, number>();
  /** By database. */
  readonly #earliest = new Map<number, EarliestDeadline>();
  /** For each step in progress, the ids of the keys that were invalidated meanwhile. */
  readonly #overtaken = new Set<Set<string>>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Drops the taken deadlines: another replica may have written the index. */
  clear(): void {
    this.#taken.clear();
  }

  /** Takes entries as `Deadlines.take` does, and keeps their deadlines. */
  async take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const taken = await this.#unlessOvertaken(
      () => this.#deadlines.take(database, untilMs, countMax),
      (deadlines, overtaken) => {
        for (const deadline of deadlines) {
          const id = keyId(deadline);
          if (!overtaken.has(id)) this.#taken.set(id, deadline.deadlineMs);
        }
        return deadlines;
      },
    );
    for (const id of this.#taken.keys()) {
      if (this.#taken.size <= TAKEN_MAX) break;
      this.#taken.delete(id);
    }
    return taken;
  }

  /**
   * The deadline of each of these keys in the index, tracked or overdue; null where there is no entry. The keys have
   * expired: unfinished readings of them are discarded. Such a reading may be of the life that ended. If it changed the
   * index after this look-up, capture would not consume the entry.
   */
  async find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    const ids = keys.map(keyId);
    this.#overtake(ids);
    const found = ids.map((id) => this.#taken.get(id) ?? null);
    const unknown = keys.flatMap((key, at) => (found[at] === null ? [{ key, at }] : []));
    if (unknown.length === 0) return found;
    const stored = await this.#deadlines.find(unknown.map(({ key }) => key));
    for (const [n, { at }] of unknown.entries()) found[at] = stored[n] ?? null;
    return found;
  }

  /** The earliest of the deadlines that are written for a database. */
  earliest(database: number): EarliestDeadline {
    const earliest = this.#earliest.get(database) ?? new EarliestDeadline();
    this.#earliest.set(database, earliest);
    return earliest;
  }

  /**
   * Reads these keys, and writes the readings to the index. A key that is missing by now, and whose deadline was read
   * after the change, has expired at that deadline if it has passed. The deadline in the index does not count: its
   * expiration may have been captured since. A key that is elsewhere has the deadline that was read after the change.
   * Rejects when the keys cannot be read.
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
   * Reads keys just after their deadlines. A key that still has its deadline is written to the index. The entry of a
   * missing key stays overdue until it is consumed. The entry of a key with a later deadline or none stays as well: the
   * key may have expired and been set again, and that expiration is yet to be captured.
   */
  async readDue(due: readonly Deadline[], reader: KeyReader): Promise<readonly KeyReading[]> {
    const known = new Map(due.map((one) => [keyId(one), one.deadlineMs]));
    return this.#track(due, reader, (reading) => isSameLife(reading, known.get(keyId(reading))));
  }

  /** Deletes the entries of keys that were deleted, evicted, renamed or moved. */
  async remove(keys: readonly KeyInDatabase[]): Promise<void> {
    this.invalidate(keys);
    await this.#deadlines.remove(keys);
  }

  /** Discards taken deadlines and unfinished readings of these keys: their entries are about to change. */
  invalidate(keys: readonly KeyInDatabase[]): void {
    if (this.#overtaken.size + this.#taken.size === 0) return;
    const ids = keys.map(keyId);
    for (const id of ids) this.#taken.delete(id);
    this.#overtake(ids);
  }

  #overtake(ids: readonly string[]): void {
    for (const overtaken of this.#overtaken) for (const id of ids) overtaken.add(id);
  }

  async #track(
    keys: readonly KeyInDatabase[],
    reader: KeyReader,
    isWritten: (reading: KeyReading) => boolean,
  ): Promise<readonly KeyReading[]> {
    return this.#unlessOvertaken(
      () => reader.read(keys),
      async (readings, overtaken) => {
        // Nothing may be awaited between this check and the write: a later removal must reach the index after the write.
        const isLate = (key: KeyInDatabase) => overtaken.size > 0 && overtaken.has(keyId(key));
        const current = readings.filter((reading) => !isLate(reading) && isWritten(reading));
        // Other readings of these keys that are in progress may be older.
        this.invalidate(current);
        if (current.length > 0) await this.#put(current);
        const late = keys.filter(isLate);
        if (late.length > 0) await this.#track(late, reader, isWritten);
        return readings;
      },
    );
  }

  /**
   * Calls `use` with the result of the step, and with the ids of the keys that were invalidated meanwhile. Not even a
   * microtask lies between the end of the step and the call: an invalidation in it would go unnoticed.
   */
  async #unlessOvertaken<Result, Used>(
    step: () => Promise<Result>,
    use: (result: Result, overtaken: ReadonlySet<string>) => Used | Promise<Used>,
  ): Promise<Used> {
    const overtaken = new Set<string>();
    this.#overtaken.add(overtaken);
    let result: Result;
    try {
      result = await step();
    } finally {
      this.#overtaken.delete(overtaken);
    }
    return use(result, overtaken);
  }

  async #put(readings: readonly KeyReading[]): Promise<void> {
    await this.#deadlines.put(readings);
    for (const { ttl, database, deadlineMs } of readings) {
      if (ttl === 'volatile') this.earliest(database).add(deadlineMs);
    }
  }
}

/** Returns the reading of a missing key as if the key still had the deadline at which it expired. */
function expiredBy(reading: KeyReading, knownMs: number | undefined): KeyReading {
  if (knownMs === undefined) return reading;
  const { ttl, readAtMs } = reading;
  const hasKnown = ttl === 'elsewhere' || (ttl === 'missing' && knownMs <= readAtMs);
  return hasKnown ? { ...reading, ttl: 'volatile', deadlineMs: knownMs } : reading;
}

/** Whether the reading is probably of the life of the key that had this deadline. */
export function isSameLife({ ttl, deadlineMs }: KeyReading, knownMs: number | undefined): boolean {
  return ttl === 'volatile' && knownMs !== undefined && deadlineMs <= knownMs;
}

/** Whether the key exists after this deadline, with another deadline or none. */
export function livesOn(reading: KeyReading, knownMs: number | undefined): boolean {
  return reading.ttl !== 'missing' && !isSameLife(reading, knownMs);
}
