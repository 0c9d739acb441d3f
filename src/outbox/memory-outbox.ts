/**
 * The outbox for a Redis that may only be read: it keeps the whole contract but durability. What
 * it holds is bounded for each endpoint, and ends with the process.
 */
import type { Clock } from '../clock.js';
import type { DeadLetter, Delivery, Disposition } from '../vocabulary.js';
import type { Claimed, Depth, Outbox } from './outbox.js';

export interface MemoryOutboxLimits {
  /** Deliveries pending for one endpoint. */
  readonly deliveriesMax: number;
  /** The bodies of one endpoint's pending deliveries, together. */
  readonly bodyBytesMax: number;
  /** Dead letters kept for one endpoint; the oldest makes room. */
  readonly deadLettersMax: number;
  /** The bodies of one endpoint's dead letters, together. */
  readonly deadLetterBytesMax: number;
}

/** A few minutes of a fast endpoint's outage, in a container of 256 MiB. */
export const MEMORY_OUTBOX_LIMITS: MemoryOutboxLimits = {
  deliveriesMax: 50_000,
  bodyBytesMax: 64 * 1024 * 1024,
  deadLettersMax: 1_000,
  deadLetterBytesMax: 16 * 1024 * 1024,
};

interface Entry {
  readonly delivery: Delivery;
  attempts: number;
  /** When it became, or becomes, ready. */
  dueAtMs: number;
  /** Ends the wait for its retry; set while it waits. */
  cancelWait: (() => void) | null;
}

/** One endpoint's share. Both maps keep the order of insertion: oldest first. */
interface Shelf {
  readonly entries: Map<string, Entry>;
  readonly ready: Map<string, Entry>;
  readonly dead: Map<string, DeadLetter>;
  readonly wakeClaimers: Set<() => void>;
  bodyBytes: number;
  deadBytes: number;
}

export class MemoryOutbox implements Outbox {
  readonly durable = false;
  readonly #clock: Clock;
  readonly #limits: MemoryOutboxLimits;
  readonly #onEvicted: (letter: DeadLetter) => void;
  readonly #shelves = new Map<string, Shelf>();
  #closed = false;

  /** `onEvicted` is told of each dead letter that has to make room for a younger one. */
  constructor(
    clock: Clock,
    onEvicted: (letter: DeadLetter) => void,
    limits: MemoryOutboxLimits = MEMORY_OUTBOX_LIMITS,
  ) {
    this.#clock = clock;
    this.#onEvicted = onEvicted;
    this.#limits = limits;
  }

  async enqueue(deliveries: readonly Delivery[]): Promise<readonly Delivery[]> {
    if (this.#closed) return deliveries;
    return deliveries.filter((delivery) => !this.#admit(delivery));
  }

  async claim(
    endpoint: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    const shelf = this.#shelf(endpoint);
    while (shelf.ready.size === 0 && !this.#closed && !signal.aborted) {
      await waitForReady(shelf, signal);
    }
    if (this.#closed || signal.aborted) return [];
    const claims: Claimed[] = [];
    for (const [id, entry] of shelf.ready) {
      if (claims.length === countMax) break;
      shelf.ready.delete(id);
      entry.attempts += 1;
      claims.push({ delivery: entry.delivery, attempt: entry.attempts });
    }
    return claims;
  }

  async settle({ delivery }: Claimed, disposition: Disposition): Promise<void> {
    const shelf = this.#shelf(delivery.endpoint);
    const entry = shelf.entries.get(delivery.id);
    if (entry === undefined || this.#closed) return;
    switch (disposition.kind) {
      case 'done':
        this.#forget(shelf, entry);
        return;
      case 'retry':
        this.#wait(shelf, entry, disposition.notBeforeMs);
        return;
      case 'dead':
        this.#forget(shelf, entry);
        this.#bury(shelf, {
          delivery,
          reason: disposition.reason,
          attempts: entry.attempts,
          diedAtMs: this.#clock.nowMs(),
        });
        return;
    }
  }

  async release({ delivery }: Claimed): Promise<void> {
    const shelf = this.#shelf(delivery.endpoint);
    const entry = shelf.entries.get(delivery.id);
    if (entry === undefined) return;
    entry.attempts -= 1;
    makeReady(shelf, entry);
  }

  async depth(endpoint: string): Promise<Depth> {
    const shelf = this.#shelf(endpoint);
    let oldestDueAtMs: number | null = null;
    for (const { dueAtMs } of shelf.ready.values()) {
      if (oldestDueAtMs === null || dueAtMs < oldestDueAtMs) oldestDueAtMs = dueAtMs;
    }
    return { pending: shelf.entries.size, oldestDueAtMs };
  }

  async deadLetters(endpoint: string): Promise<readonly DeadLetter[]> {
    return [...this.#shelf(endpoint).dead.values()];
  }

  async deadLetterCount(endpoint: string): Promise<number> {
    return this.#shelf(endpoint).dead.size;
  }

  async replay(endpoint: string, id: string): Promise<boolean> {
    const shelf = this.#shelf(endpoint);
    const letter = shelf.dead.get(id);
    if (letter === undefined || !this.#admit(letter.delivery)) return false;
    this.#exhume(shelf, letter);
    return true;
  }

  async close(): Promise<readonly Delivery[]> {
    this.#closed = true;
    const lost: Delivery[] = [];
    for (const shelf of this.#shelves.values()) {
      for (const { delivery, cancelWait } of shelf.entries.values()) {
        cancelWait?.();
        lost.push(delivery);
      }
      shelf.entries.clear();
      shelf.ready.clear();
      wakeAll(shelf);
    }
    return lost;
  }

  #shelf(endpoint: string): Shelf {
    let shelf = this.#shelves.get(endpoint);
    if (shelf === undefined) {
      shelf = {
        entries: new Map(),
        ready: new Map(),
        dead: new Map(),
        wakeClaimers: new Set(),
        bodyBytes: 0,
        deadBytes: 0,
      };
      this.#shelves.set(endpoint, shelf);
    }
    return shelf;
  }

  /** Whether the delivery is kept: false when there is no room for it. */
  #admit(delivery: Delivery): boolean {
    const shelf = this.#shelf(delivery.endpoint);
    if (shelf.entries.has(delivery.id)) return true;
    if (shelf.entries.size >= this.#limits.deliveriesMax) return false;
    if (shelf.bodyBytes + delivery.body.length > this.#limits.bodyBytesMax) return false;
    const dueAtMs = this.#clock.nowMs();
    const entry: Entry = { delivery, attempts: 0, dueAtMs, cancelWait: null };
    shelf.entries.set(delivery.id, entry);
    shelf.bodyBytes += delivery.body.length;
    makeReady(shelf, entry);
    return true;
  }

  #forget(shelf: Shelf, entry: Entry): void {
    shelf.entries.delete(entry.delivery.id);
    shelf.bodyBytes -= entry.delivery.body.length;
  }

  #wait(shelf: Shelf, entry: Entry, notBeforeMs: number): void {
    entry.dueAtMs = notBeforeMs;
    entry.cancelWait = this.#clock.after(notBeforeMs - this.#clock.nowMs(), () => {
      entry.cancelWait = null;
      makeReady(shelf, entry);
    });
  }

  #bury(shelf: Shelf, letter: DeadLetter): void {
    shelf.dead.set(letter.delivery.id, letter);
    shelf.deadBytes += letter.delivery.body.length;
    for (const oldest of shelf.dead.values()) {
      const fits =
        shelf.dead.size <= this.#limits.deadLettersMax &&
        shelf.deadBytes <= this.#limits.deadLetterBytesMax;
      if (fits) return;
      this.#exhume(shelf, oldest);
      this.#onEvicted(oldest);
    }
  }

  #exhume(shelf: Shelf, letter: DeadLetter): void {
    shelf.dead.delete(letter.delivery.id);
    shelf.deadBytes -= letter.delivery.body.length;
  }
}

function makeReady(shelf: Shelf, entry: Entry): void {
  shelf.ready.set(entry.delivery.id, entry);
  wakeAll(shelf);
}

function wakeAll(shelf: Shelf): void {
  for (const wake of shelf.wakeClaimers) wake();
}

function waitForReady(shelf: Shelf, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      shelf.wakeClaimers.delete(wake);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    shelf.wakeClaimers.add(wake);
    signal.addEventListener('abort', wake, { once: true });
  });
}
