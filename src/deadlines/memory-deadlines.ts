/**
 * The index of deadlines for a Redis that may only be read. It ends with the process, and grows with
 * the number of tracked keys, up to a limit.
 */

import TinyQueue from 'tinyqueue';
import type { ConsumedDeadline, Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { CapturedExpiration, Deadlines } from './deadlines.js';

/** Some 40 MB; the deadlines of further keys are left to Redis's own expiry. */
export const TRACKED_KEYS_MAX = 200_000;

/** Keys that are read together. */
const SCAN_COUNT = 500;

/** A heap may hold so many entries that are true no longer, beside one for each that is. */
const STALE_MAX = 10_000;

/** Its key's name, as a map's key. */
function nameOf(key: Buffer): string {
  return key.toString('latin1');
}

/** Deadlines by key and in their order. */
class Ordered {
  readonly #byName = new Map<string, Deadline>();
  /** Each deadline there ever was, until it is taken or the heap is made anew. */
  #heap = new TinyQueue<Deadline>([], byDeadline);

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Deadline | undefined {
    return this.#byName.get(name);
  }

  set(name: string, deadline: Deadline): void {
    if (this.#byName.get(name)?.deadlineMs === deadline.deadlineMs) return;
    this.#byName.set(name, deadline);
    this.#heap.push(deadline);
    if (this.#heap.length > 2 * this.size + STALE_MAX) {
      this.#heap = new TinyQueue([...this.#byName.values()], byDeadline);
    }
  }

  delete(name: string): void {
    this.#byName.delete(name);
  }

  all(): Deadline[] {
    return [...this.#byName.values()];
  }

  /** The earliest; undefined when there is none. */
  first(): Deadline | undefined {
    for (;;) {
      const first = this.#heap.peek();
      if (first === undefined || this.#byName.get(nameOf(first.key)) === first) return first;
      this.#heap.pop();
    }
  }

  /** Takes the earliest ones out. */
  takeUntil(untilMs: number, countMax: number): Deadline[] {
    const taken: Deadline[] = [];
    for (let first = this.first(); first !== undefined; first = this.first()) {
      if (first.deadlineMs > untilMs || taken.length === countMax) break;
      this.delete(nameOf(first.key));
      taken.push(first);
    }
    return taken;
  }
}

function byDeadline(one: Deadline, other: Deadline): number {
  return one.deadlineMs - other.deadlineMs;
}

/** One database's. */
type DatabaseIndex = Readonly<Record<'tracked' | 'overdue', Ordered>>;

export class MemoryDeadlines implements Deadlines {
  readonly #keysMax: number;
  readonly #shelves = new Map<number, DatabaseIndex>();

  constructor(keysMax: number = TRACKED_KEYS_MAX) {
    this.#keysMax = keysMax;
  }

  async put(readings: readonly KeyReading[]): Promise<void> {
    for (const reading of readings) this.#put(reading);
  }

  #put({ database, key, ttl, deadlineMs, readAtMs }: KeyReading): void {
    const { tracked, overdue } = this.#shelf(database);
    const name = nameOf(key);
    switch (ttl) {
      case 'volatile':
        overdue.delete(name);
        if (tracked.get(name) !== undefined || tracked.size + overdue.size < this.#keysMax) {
          tracked.set(name, { database, key, deadlineMs });
        }
        return;
      case 'persistent':
        tracked.delete(name);
        overdue.delete(name);
        return;
      case 'missing':
        if ((tracked.get(name)?.deadlineMs ?? 0) > readAtMs) tracked.delete(name);
        if ((overdue.get(name)?.deadlineMs ?? 0) > readAtMs) overdue.delete(name);
        return;
      case 'elsewhere':
        return;
    }
  }

  async remove(keys: readonly KeyInDatabase[]): Promise<void> {
    for (const { database, key } of keys) {
      const { tracked, overdue } = this.#shelf(database);
      const name = nameOf(key);
      tracked.delete(name);
      overdue.delete(name);
    }
  }

  /** Forgets these entries, unless they have got another deadline since. */
  async consume(deadlines: readonly ConsumedDeadline[]): Promise<void> {
    for (const { database, key, deadlineMs, detectedAtMs } of deadlines) {
      const name = nameOf(key);
      const isAboutIt = (known: number) =>
        deadlineMs === null ? known <= detectedAtMs + CLOCK_SLACK_MS : known === deadlineMs;
      for (const ordered of Object.values(this.#shelf(database))) {
        const entry = ordered.get(name);
        if (entry !== undefined && isAboutIt(entry.deadlineMs)) ordered.delete(name);
      }
    }
  }

  async take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const { tracked, overdue } = this.#shelf(database);
    const due = tracked.takeUntil(untilMs, countMax);
    for (const deadline of due) overdue.set(nameOf(deadline.key), deadline);
    return due;
  }

  async overdue(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const { overdue } = this.#shelf(database);
    const found = overdue.takeUntil(untilMs, countMax);
    for (const deadline of found) overdue.set(nameOf(deadline.key), deadline);
    return found;
  }

  async find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    return keys.map(({ database, key }) => {
      const { tracked, overdue } = this.#shelf(database);
      const name = nameOf(key);
      return (overdue.get(name) ?? tracked.get(name))?.deadlineMs ?? null;
    });
  }

  /** It does not remember them. */
  async *recentlyCaptured(): AsyncGenerator<readonly CapturedExpiration[]> {}

  async capturedByOlder(keys: readonly KeyInDatabase[]): Promise<readonly null[]> {
    return keys.map(() => null);
  }

  /** It ends with this process: nobody goes on from there. */
  async settle(_mark: string): Promise<void> {}

  async settledMark(): Promise<null> {
    return null;
  }

  /** No other configuration shares this memory. */
  async setAside(keys: readonly KeyInDatabase[]): Promise<void> {
    await this.remove(keys);
  }

  async bringBack(): Promise<void> {}

  async forgetAside(): Promise<void> {}

  async *scan(database: number): AsyncGenerator<readonly KeyInDatabase[]> {
    const keys = this.#shelf(database).tracked.all();
    for (let from = 0; from < keys.length; from += SCAN_COUNT) {
      yield keys.slice(from, from + SCAN_COUNT);
    }
  }

  async earliestMs(database: number): Promise<number | null> {
    return this.#shelf(database).tracked.first()?.deadlineMs ?? null;
  }

  async count(): Promise<number> {
    let count = 0;
    for (const { tracked, overdue } of this.#shelves.values()) count += tracked.size + overdue.size;
    return count;
  }

  async forget(database: number): Promise<number> {
    const { tracked, overdue } = this.#shelf(database);
    this.#shelves.delete(database);
    return tracked.size + overdue.size;
  }

  #shelf(database: number): DatabaseIndex {
    let shelf = this.#shelves.get(database);
    if (shelf === undefined) {
      shelf = { tracked: new Ordered(), overdue: new Ordered() };
      this.#shelves.set(database, shelf);
    }
    return shelf;
  }
}
