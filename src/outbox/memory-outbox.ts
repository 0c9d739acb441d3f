/**
 * The outbox for a Redis that may only be read: the whole contract except durability. Its size is bounded per endpoint,
 * and its contents are lost when the process ends.
 */

import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import type { ConsumedDeadline, DeadLetter, Delivery, Disposition } from '../model/vocabulary.js';
import { type DeadLetterLimits, MemoryDeadLetters } from './memory-dead-letters.js';
import type { Batch, Claimed, Depth, Outbox, Writer } from './outbox.js';
import { RetryShare } from './retry-share.js';

export interface MemoryOutboxLimits extends DeadLetterLimits {
  /** Pending deliveries per endpoint. */
  readonly deliveriesMax: number;
  /** The total size of the bodies of one endpoint's pending deliveries. */
  readonly bodyBytesMax: number;
}

/** Enough for an outage of a fast endpoint for a few minutes, in a container of 256 MiB. */
export const MEMORY_OUTBOX_LIMITS: MemoryOutboxLimits = {
  deliveriesMax: 50_000,
  bodyBytesMax: 64 * 1024 * 1024,
  deadLettersMax: 1_000,
  deadLetterBytesMax: 16 * 1024 * 1024,
};

interface Entry {
  readonly delivery: Delivery;
  attempts: number;
  /** Whether the delivery is a replayed dead letter that has not been attempted since. */
  isReplay: boolean;
  /** When the delivery became, or becomes, ready. */
  dueAtMs: number;
  /** Cancels the wait for a retry; null while none is pending. */
  cancelWait: (() => void) | null;
}

/** The deliveries of one endpoint. The maps keep the order of insertion: oldest first. */
interface EndpointQueue {
  readonly entries: Map<string, Entry>;
  /** Deliveries that are ready for the first time, or released. */
  readonly fresh: Map<string, Entry>;
  /** Retries that are due. */
  readonly retries: Map<string, Entry>;
  readonly retryShare: RetryShare;
  readonly bell: Condition;
  bodyBytes: number;
  /** When throttling ends, by the monotonic clock. */
  throttledUntilMs: number;
}

export class MemoryOutbox implements Outbox {
  readonly durable = false;
  readonly dead: MemoryDeadLetters;
  readonly #clock: Clock;
  readonly #limits: MemoryOutboxLimits;
  readonly #onClaimed: (claimed: readonly ConsumedDeadline[]) => Promise<void>;
  readonly #shelves = new Map<string, EndpointQueue>();
  #closed = false;

  /**
   * `onEvicted` is called with each dead letter that is evicted, `onClaimed` with the deadlines to remove from the
   * index.
   */
  constructor(
    clock: Clock,
    onEvicted: (letter: DeadLetter) => void,
    limits: MemoryOutboxLimits = MEMORY_OUTBOX_LIMITS,
    onClaimed: (claimed: readonly ConsumedDeadline[]) => Promise<void> = async () => undefined,
  ) {
    this.#clock = clock;
    this.#onClaimed = onClaimed;
    this.#limits = limits;
    this.dead = new MemoryDeadLetters(limits, onEvicted, (delivery) => {
      this.#shelf(delivery.endpoint).throttledUntilMs = 0;
      return this.#admit(delivery, true);
    });
  }

  async enqueue(
    deliveries: readonly Delivery[],
    claimed: readonly ConsumedDeadline[] = [],
  ): Promise<readonly Delivery[]> {
    if (this.#closed) return deliveries;
    await this.#onClaimed(claimed);
    return deliveries.filter((delivery) => !this.#admit(delivery, false));
  }

  /** Enqueuing never fails in memory, so that a batch is never repeated. */
  beginBatch(writer: Writer): Batch {
    return { writer, token: '', number: 0 };
  }

  async claim(
    endpoint: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    const shelf = this.#shelf(endpoint);
    while (!this.#closed && !signal.aborted) {
      const claims = this.#take(shelf, countMax);
      if (claims.length > 0) return claims;
      await this.#untilRung(shelf, signal);
    }
    return [];
  }

  #take(shelf: EndpointQueue, countMax: number): Claimed[] {
    if (this.#throttledForMs(shelf) > 0) return [];
    const share = Math.min(shelf.retryShare.share(countMax), shelf.retries.size);
    const freshMax = Math.max(0, countMax - share);
    const fresh = [...takeFirst(shelf.fresh, freshMax)];
    const retries = [...takeFirst(shelf.retries, countMax - fresh.length)];
    return [...fresh, ...retries].map((entry) => {
      entry.attempts += 1;
      return { delivery: entry.delivery, attempt: entry.attempts, isReplay: entry.isReplay };
    });
  }

  async settle(claimed: Claimed, disposition: Disposition, retryAfterMs: number): Promise<void> {
    const { delivery } = claimed;
    const shelf = this.#shelf(delivery.endpoint);
    const entry = shelf.entries.get(delivery.id);
    if (entry === undefined || this.#closed) return;
    entry.attempts = claimed.attempt;
    entry.isReplay = false;
    this.#dispose(shelf, entry, disposition);
    const untilMs = retryAfterMs > 0 ? this.#clock.monotonicMs() + retryAfterMs : 0;
    shelf.throttledUntilMs = Math.max(shelf.throttledUntilMs, untilMs);
    shelf.bell.notifyAll();
  }

  #dispose(shelf: EndpointQueue, entry: Entry, disposition: Disposition): void {
    switch (disposition.kind) {
      case 'done':
        return this.#forget(shelf, entry);
      case 'retry':
        return this.#wait(shelf, entry, disposition.notBeforeMs);
      case 'dead': {
        const { delivery, attempts } = entry;
        const { reason, lastOutcome } = disposition;
        if (reason === 'gone') shelf.throttledUntilMs = 0;
        this.#forget(shelf, entry);
        return this.dead.add({
          delivery,
          reason,
          attempts,
          lastOutcome,
          diedAtMs: this.#clock.nowMs(),
        });
      }
    }
  }

  async release({ delivery }: Claimed): Promise<void> {
    const shelf = this.#shelf(delivery.endpoint);
    const entry = shelf.entries.get(delivery.id);
    if (entry === undefined) return;
    entry.attempts -= 1;
    shelf.fresh.set(delivery.id, entry);
    shelf.bell.notifyAll();
  }

  async depth(endpoint: string): Promise<Depth> {
    const shelf = this.#shelf(endpoint);
    const nowMs = this.#clock.monotonicMs();
    let oldestDueForMs: number | null = null;
    for (const ready of [shelf.fresh, shelf.retries]) {
      for (const { dueAtMs } of ready.values()) {
        oldestDueForMs = Math.max(oldestDueForMs ?? 0, nowMs - dueAtMs);
      }
    }
    return {
      pending: shelf.entries.size,
      oldestDueForMs,
      deadLetters: this.dead.count(endpoint),
      throttledForMs: this.#throttledForMs(shelf),
    };
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
      shelf.fresh.clear();
      shelf.retries.clear();
      shelf.bell.notifyAll();
    }
    return lost;
  }

  #shelf(endpoint: string): EndpointQueue {
    let shelf = this.#shelves.get(endpoint);
    if (shelf === undefined) {
      shelf = {
        entries: new Map(),
        fresh: new Map(),
        retries: new Map(),
        retryShare: new RetryShare(),
        bell: new Condition(),
        bodyBytes: 0,
        throttledUntilMs: 0,
      };
      this.#shelves.set(endpoint, shelf);
    }
    return shelf;
  }

  /** Stores a delivery; false: there is no room. */
  #admit(delivery: Delivery, isReplay: boolean): boolean {
    const shelf = this.#shelf(delivery.endpoint);
    if (shelf.entries.has(delivery.id)) return true;
    if (shelf.entries.size >= this.#limits.deliveriesMax) return false;
    if (shelf.bodyBytes + delivery.body.length > this.#limits.bodyBytesMax) return false;
    const entry: Entry = {
      delivery,
      attempts: 0,
      isReplay,
      dueAtMs: this.#clock.monotonicMs(),
      cancelWait: null,
    };
    shelf.entries.set(delivery.id, entry);
    shelf.fresh.set(delivery.id, entry);
    shelf.bodyBytes += delivery.body.length;
    shelf.bell.notifyAll();
    return true;
  }

  #forget(shelf: EndpointQueue, entry: Entry): void {
    shelf.entries.delete(entry.delivery.id);
    shelf.bodyBytes -= entry.delivery.body.length;
  }

  #wait(shelf: EndpointQueue, entry: Entry, notBeforeMs: number): void {
    entry.dueAtMs = notBeforeMs;
    entry.cancelWait = this.#clock.after(notBeforeMs - this.#clock.monotonicMs(), () => {
      entry.cancelWait = null;
      shelf.retries.set(entry.delivery.id, entry);
      shelf.bell.notifyAll();
    });
  }

  /** Waits until a claim may succeed that could not before. */
  #untilRung(shelf: EndpointQueue, signal: AbortSignal): Promise<void> {
    const throttledForMs = this.#throttledForMs(shelf);
    return shelf.bell.wait(this.#clock, throttledForMs > 0 ? throttledForMs : null, signal);
  }

  #throttledForMs({ throttledUntilMs }: EndpointQueue): number {
    return Math.max(0, throttledUntilMs - this.#clock.monotonicMs());
  }
}

/** Removes up to `countMax` entries from the map, oldest first. */
function* takeFirst(entries: Map<string, Entry>, countMax: number): Generator<Entry> {
  let left = countMax;
  for (const [id, entry] of entries) {
    if (left <= 0) return;
    left -= 1;
    entries.delete(id);
    yield entry;
  }
}
