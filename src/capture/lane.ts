/**
 * What waits to be taken care of, in its order: slice by slice, each when the one before is through.
 * It has no limit of its own; whoever fills it looks at its size.
 */
import type { Clock } from '../clock.js';
import { nameOf } from '../key-name.js';
import type { KeyInDatabase } from '../vocabulary.js';

/** What is taken care of together. */
export const SLICE_MAX = 500;

export interface LaneParts<Item> {
  readonly clock: Pick<Clock, 'turn'>;
  /** Resolves with how many of the slice, from its first on, are through; null: all waits from now on. */
  readonly process: (slice: readonly Item[]) => Promise<number | null>;
  /** Told after each slice. */
  readonly onThrough: () => void;
}

/** Someone who waits until so many are through, of all that there ever were. */
interface Waiting {
  readonly count: number;
  readonly resolve: () => void;
}

export class Lane<Item extends KeyInDatabase> {
  readonly #parts: LaneParts<Item>;
  /** How often each key is in it. */
  readonly #names = new Map<string, number>();
  #queue: Item[] = [];
  #bytes = 0;
  #through = 0;
  #cleared = 0;
  #waiting: Waiting[] = [];
  #emptying: Promise<void> | null = null;

  constructor(parts: LaneParts<Item>) {
    this.#parts = parts;
  }

  /** How many are not through. */
  get size(): number {
    return this.#queue.length;
  }

  /** The bytes of their keys. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All that are not through, in their order. */
  get items(): readonly Item[] {
    return this.#queue;
  }

  /** Whether anything about the key is not through. */
  has(key: KeyInDatabase): boolean {
    return this.#names.size > 0 && this.#names.has(nameOf(key));
  }

  push(item: Item): void {
    const name = nameOf(item);
    this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
    this.#queue.push(item);
    this.#bytes += item.key.length;
    this.#emptying ??= this.#empty();
  }

  /** Resolves when all that is in it now is through, or was cleared, or the signal aborts. */
  settled(signal: AbortSignal): Promise<void> {
    if (this.#queue.length === 0 || signal.aborted) return Promise.resolve();
    const count = this.#through + this.#queue.length;
    return new Promise((resolve) => {
      const end = () => {
        signal.removeEventListener('abort', end);
        resolve();
      };
      signal.addEventListener('abort', end);
      this.#waiting.push({ count, resolve: end });
    });
  }

  /** Resolves when nothing is under way: nothing is left, or what is left waits. */
  async atRest(): Promise<void> {
    await this.#emptying;
  }

  clear(): void {
    this.#cleared += 1;
    this.#drop(this.#queue.length);
  }

  async #empty(): Promise<void> {
    while (this.#queue.length > 0) {
      await this.#parts.clock.turn();
      const cleared = this.#cleared;
      const reach = await this.#parts.process(this.#queue.slice(0, SLICE_MAX));
      if (reach === null) break;
      // What was cleared meanwhile is through already.
      if (this.#cleared === cleared) this.#drop(reach);
      this.#parts.onThrough();
    }
    this.#emptying = null;
  }

  #drop(count: number): void {
    for (const item of this.#queue.splice(0, count)) {
      const name = nameOf(item);
      const left = (this.#names.get(name) ?? 0) - 1;
      if (left > 0) this.#names.set(name, left);
      else this.#names.delete(name);
      this.#bytes -= item.key.length;
    }
    this.#through += count;
    this.#waiting = this.#waiting.filter(({ count: wanted, resolve }) => {
      if (wanted > this.#through) return true;
      resolve();
      return false;
    });
  }
}
