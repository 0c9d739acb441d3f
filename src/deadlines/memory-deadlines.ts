/**
 * The index of deadlines in memory, for a Redis that may only be read. The index ends with the process, and grows with
 * the number of tracked keys, up to a limit.
 */

import TinyQueue from 'tinyqueue';
import type {
  CapturedExpiration,
  Deadline,
  KeyInDatabase,
  KeyReading,
} from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { CapturedName, Deadlines, ExpirationName } from './deadlines.js';

/** Keys in the index, some 40 MB. Further keys are left to Redis's own expiry. */
export const TRACKED_KEYS_MAX = 200_000;

/** Keys that a scan yields together. */
const SCAN_COUNT = 500;

/** Outdated deadlines that a heap may hold, beside one for each current deadline. */
const STALE_MAX = 10_000;

/** The key of a map for a Redis key within its database. */
function idOf(key: Buffer): string {
  return key.toString('latin1');
}

/** Deadlines, by key and in order of time. */
class Ordered {
  readonly #byId = new Map<string, Deadline>();
  /** All deadlines ever set, until they are taken or the heap is rebuilt. */
  #heap = new TinyQueue<Deadline>([], byDeadline);

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Deadline | undefined {
    return this.#byId.get(id);
  }

  set(id: string, deadline: Deadline): void {
    if (this.#byId.get(id)?.deadlineMs === deadline.deadlineMs) return;
    this.#byId.set(id, deadline);
    this.#heap.push(deadline);
    if (this.#heap.length > 2 * this.size + STALE_MAX) {
      this.#heap = new TinyQueue([...this.#byId.values()], byDeadline);
    }
  }

  delete(id: string): void {
    this.#byId.delete(id);
  }

  all(): Deadline[] {
    return [...this.#byId.values()];
  }

  /** The earliest deadline; undefined: none. */
  first(): Deadline | undefined {
    for (;;) {
      const first = this.#heap.peek();
      if (first === undefined || this.#byId.get(idOf(first.key)) === first) return first;
      this.#heap.pop();
    }
  }

  /** Takes out the earliest deadlines, up to `countMax` of at most `untilMs`. */
  takeUntil(untilMs: number, countMax: number): Deadline[] {
    const taken: Deadline[] = [];
    for (let first = this.first(); first !== undefined; first = this.first()) {
      if (first.deadlineMs > untilMs || taken.length === countMax) break;
      this.delete(idOf(first.key));
      taken.push(first);
    }
    return taken;
  }
}

function byDeadline(one: Deadline, other: Deadline): number {
  return one.deadlineMs - other.deadlineMs;
}

/** The index of one database. */
type DatabaseIndex = Readonly<Record<'tracked' | 'overdue', Ordered>>;

export class MemoryDeadlines implements Deadlines {
  readonly #keysMax: number;
  readonly #indexes = new Map<number, DatabaseIndex>();

  constructor(keysMax: number = TRACKED_KEYS_MAX) {
    this.#keysMax = keysMax;
  }

  async put(readings: readonly KeyReading[]): Promise<void> {
    for (const reading of readings) this.#put(reading);
  }

  #put({ database, key, ttl, deadlineMs, readAtMs }: KeyReading): void {
    const { tracked, overdue } = this.#index(database);
    const id = idOf(key);
    switch (ttl) {
      case 'volatile':
        overdue.delete(id);
        if (tracked.get(id) !== undefined || tracked.size + overdue.size < this.#keysMax) {
          tracked.set(id, { database, key, deadlineMs });
        }
        return;
      case 'persistent':
        tracked.delete(id);
        overdue.delete(id);
        return;
      case 'missing':
        if ((tracked.get(id)?.deadlineMs ?? 0) > readAtMs) tracked.delete(id);
        if ((overdue.get(id)?.deadlineMs ?? 0) > readAtMs) overdue.delete(id);
        return;
      case 'elsewhere':
        return;
    }
  }

  async remove(keys: readonly KeyInDatabase[]): Promise<void> {
    for (const { database, key } of keys) {
      const { tracked, overdue } = this.#index(database);
      const id = idOf(key);
      tracked.delete(id);
      overdue.delete(id);
    }
  }

  /** Deletes the entries of captured expirations, unless they have another deadline by now. */
  async consume(deadlines: readonly CapturedExpiration[]): Promise<void> {
    for (const { database, key, deadlineMs, detectedAtMs } of deadlines) {
      const id = idOf(key);
      const isAboutIt = (known: number) =>
        deadlineMs === null ? known <= detectedAtMs + CLOCK_SLACK_MS : known === deadlineMs;
      for (const ordered of Object.values(this.#index(database))) {
        const entry = ordered.get(id);
        if (entry !== undefined && isAboutIt(entry.deadlineMs)) ordered.delete(id);
      }
    }
  }

  async take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const { tracked, overdue } = this.#index(database);
    const due = tracked.takeUntil(untilMs, countMax);
    for (const deadline of due) overdue.set(idOf(deadline.key), deadline);
    return due;
  }

  async overdue(
    database: number,
    untilMs: number,
    countMax: number,
    skipped = 0,
  ): Promise<readonly Deadline[]> {
    const { overdue } = this.#index(database);
    const found = overdue.takeUntil(untilMs, skipped + countMax);
    for (const deadline of found) overdue.set(idOf(deadline.key), deadline);
    return found.slice(skipped);
  }

  async find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    return keys.map(({ database, key }) => {
      const { tracked, overdue } = this.#index(database);
      const id = idOf(key);
      return (overdue.get(id) ?? tracked.get(id))?.deadlineMs ?? null;
    });
  }

  async areCaptured(names: readonly ExpirationName[]): Promise<readonly boolean[]> {
    return names.map(() => false);
  }

  /** Yields nothing: this index does not store them. */
  async *recentlyCaptured(): AsyncGenerator<readonly CapturedName[]> {}

  async capturedByOlder(keys: readonly KeyInDatabase[]): Promise<readonly null[]> {
    return keys.map(() => null);
  }

  /** Does nothing: the index ends with this process, and no other replica continues from it. */
  async advanceWatermark(_marks: readonly string[]): Promise<void> {}

  async watermark(): Promise<readonly string[]> {
    return [];
  }

  /** Deletes the entries: no other configuration shares this index. */
  async setAside(keys: readonly KeyInDatabase[]): Promise<void> {
    await this.remove(keys);
  }

  async bringBack(): Promise<void> {}

  async forgetAside(): Promise<void> {}

  async *scan(database: number): AsyncGenerator<readonly KeyInDatabase[]> {
    const keys = this.#index(database).tracked.all();
    for (let from = 0; from < keys.length; from += SCAN_COUNT) {
      yield keys.slice(from, from + SCAN_COUNT);
    }
  }

  async earliestMs(database: number): Promise<number | null> {
    return this.#index(database).tracked.first()?.deadlineMs ?? null;
  }

  async count(): Promise<number> {
    let count = 0;
    for (const { tracked, overdue } of this.#indexes.values()) count += tracked.size + overdue.size;
    return count;
  }

  async forget(database: number): Promise<number> {
    const { tracked, overdue } = this.#index(database);
    this.#indexes.delete(database);
    return tracked.size + overdue.size;
  }

  #index(database: number): DatabaseIndex {
    let index = this.#indexes.get(database);
    if (index === undefined) {
      index = { tracked: new Ordered(), overdue: new Ordered() };
      this.#indexes.set(database, index);
    }
    return index;
  }
}
