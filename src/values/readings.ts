/**
 * A queue of values to read, in batches, those with near deadlines first. Nothing waits for a reading: a late one only
 * makes a kept value less fresh.
 */
import { keyId } from '../model/key-id.js';
import type { Deadline } from '../model/vocabulary.js';

/** The limit of each queue. A key without room has its value read just before its deadline, or not again. */
const WAITING_MAX = 10_000;

export interface ReadingsParts {
  /** Returns the number of values to read at a time. */
  readonly countMax: () => number;
  /** Reads values and keeps them; never rejects. `isDue`: just before their deadlines. */
  readonly read: (batch: readonly Deadline[], isDue: boolean) => Promise<void>;
}

export class Readings {
  readonly #parts: ReadingsParts;
  /** Queued deadlines, by key id. */
  readonly #due = new Map<string, Deadline>();
  readonly #tracked = new Map<string, Deadline>();
  #reading: Promise<void> | null = null;
  #hasRoom: (() => void)[] = [];

  constructor(parts: ReadingsParts) {
    this.#parts = parts;
  }

  /** Queues values whose deadlines are near. */
  addDue(deadlines: readonly Deadline[]): void {
    this.#add(this.#due, deadlines);
  }

  /** Queues values whose deadlines became known. Resolves when there is room for more. */
  async addTracked(deadlines: readonly Deadline[]): Promise<void> {
    this.#add(this.#tracked, deadlines);
    if (this.#tracked.size <= WAITING_MAX / 2) return;
    await new Promise<void>((resolve) => this.#hasRoom.push(resolve));
  }

  clear(): void {
    this.#due.clear();
    this.#tracked.clear();
    this.#notifyRoom();
  }

  /** Resolves when nothing is queued. */
  async drained(): Promise<void> {
    await this.#reading;
  }

  #add(waiting: Map<string, Deadline>, deadlines: readonly Deadline[]): void {
    for (const deadline of deadlines) {
      const name = keyId(deadline);
      if (waiting.size < WAITING_MAX || waiting.has(name)) waiting.set(name, deadline);
    }
    if (waiting.size > 0) this.#reading ??= this.#run();
  }

  async #run(): Promise<void> {
    while (this.#due.size + this.#tracked.size > 0) {
      const isDue = this.#due.size > 0;
      await this.#parts.read(this.#take(isDue ? this.#due : this.#tracked), isDue);
      if (this.#tracked.size <= WAITING_MAX / 2) this.#notifyRoom();
    }
    this.#reading = null;
  }

  #take(waiting: Map<string, Deadline>): Deadline[] {
    const batch: Deadline[] = [];
    const countMax = this.#parts.countMax();
    for (const [name, deadline] of waiting) {
      if (batch.length >= countMax) break;
      waiting.delete(name);
      batch.push(deadline);
    }
    return batch;
  }

  #notifyRoom(): void {
    for (const resolve of this.#hasRoom.splice(0)) resolve();
  }
}
