/**
 * The outbox for a Redis that may only be read: the whole contract except durability. Its size is bounded per endpoint,
 * and its contents are lost when the process ends.
 */

import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import type {
  CapturedExpiration,
  DeadLetter,
  Delivery,
  FailedAttempt,
  FailureDisposition,
  RecordedAttempt,
} from '../model/vocabulary.js';
import { HISTORY_MAX } from '../state/format.js';
import { type DeadLetterLimits, MemoryDeadLetters } from './memory-dead-letters.js';
import type { Batch, Claimed, Depth, Outbox, Pause, Pauses, Writer } from './outbox.js';
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
  /** Failed attempts, oldest first; at most HISTORY_MAX. */
  history: readonly RecordedAttempt[];
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
  readonly condition: Condition;
  bodyBytes: number;
  /** When throttling ends, by the monotonic clock. */
  throttledUntilMs: number;
  paused: Pause | null;
}

export class MemoryOutbox implements Outbox {
  readonly durable = false;
  readonly dead: MemoryDeadLetters;
  readonly #clock: Clock;
  readonly #limits: MemoryOutboxLimits;
  readonly #onCaptured: (captured: readonly CapturedExpiration[]) => Promise<void>;
  readonly #queues = new Map<string, EndpointQueue>();
  #closed = false;

  /**
   * `onEvicted` is called with each dead letter that is evicted, `onCaptured` with the deadlines to remove from the
   * index.
   */
  constructor(
    clock: Clock,
    onEvicted: (letter: DeadLetter) => void,
    limits: MemoryOutboxLimits = MEMORY_OUTBOX_LIMITS,
    onCaptured: (captured: readonly CapturedExpiration[]) => Promise<void> = async () => undefined,
  ) {
    this.#clock = clock;
    this.#onCaptured = onCaptured;
    this.#limits = limits;
    this.dead = new MemoryDeadLetters(limits, onEvicted, (delivery) => {
      this.#queue(delivery.endpoint).throttledUntilMs = 0;
      return this.#admit(delivery, true);
    });
  }

  readonly pauses: Pauses = {
    pause: async (endpoint, { by, reason }) => {
      const queue = this.#queue(endpoint);
      if (queue.paused !== null) return false;
      queue.paused = { sinceMs: this.#clock.nowMs(), by, reason };
      return true;
    },
    resume: async (endpoint) => {
      const queue = this.#queue(endpoint);
      const wasPaused = queue.paused !== null;
      queue.paused = null;
      queue.condition.notifyAll();
      return wasPaused;
    },
  };

  async enqueue(
    deliveries: readonly Delivery[],
    captured: readonly CapturedExpiration[] = [],
  ): Promise<readonly Delivery[]> {
    if (this.#closed) return deliveries;
    await this.#onCaptured(captured);
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
    const queue = this.#queue(endpoint);
    while (!this.#closed && !signal.aborted) {
      const claims = this.#take(queue, countMax);
      if (claims.length > 0) return claims;
      await this.#waitForChange(queue, signal);
    }
    return [];
  }

  #take(queue: EndpointQueue, countMax: number): Claimed[] {
    if (queue.paused !== null || this.#throttledForMs(queue) > 0) return [];
    const share = Math.min(queue.retryShare.share(countMax), queue.retries.size);
    const freshMax = Math.max(0, countMax - share);
    const fresh = [...takeFirst(queue.fresh, freshMax)];
    const retries = [...takeFirst(queue.retries, countMax - fresh.length)];
    return [...fresh, ...retries].map((entry) => {
      entry.attempts += 1;
      return { delivery: entry.delivery, attempt: entry.attempts, isReplay: entry.isReplay };
    });
  }

  async settleDone(claims: readonly Claimed[]): Promise<void> {
    for (const { delivery } of claims) {
      const queue = this.#queue(delivery.endpoint);
      const entry = queue.entries.get(delivery.id);
      if (entry === undefined || this.#closed) continue;
      this.#forget(queue, entry);
      queue.condition.notifyAll();
    }
  }

  async settle(
    claimed: Claimed,
    disposition: FailureDisposition,
    retryAfterMs: number,
  ): Promise<void> {
    const { delivery } = claimed;
    const queue = this.#queue(delivery.endpoint);
    const entry = queue.entries.get(delivery.id);
    if (entry === undefined || this.#closed) return;
    entry.attempts = claimed.attempt;
    entry.isReplay = false;
    this.#dispose(queue, entry, disposition);
    const untilMs = retryAfterMs > 0 ? this.#clock.monotonicMs() + retryAfterMs : 0;
    queue.throttledUntilMs = Math.max(queue.throttledUntilMs, untilMs);
    queue.condition.notifyAll();
  }

  #dispose(queue: EndpointQueue, entry: Entry, disposition: FailureDisposition): void {
    switch (disposition.kind) {
      case 'retry':
        entry.history = this.#historyWith(entry, disposition.failure);
        return this.#wait(queue, entry, disposition.notBeforeMs);
      case 'dead': {
        const { delivery, attempts } = entry;
        const { reason, lastOutcome, failure } = disposition;
        if (reason === 'gone') queue.throttledUntilMs = 0;
        this.#forget(queue, entry);
        return this.dead.add({
          delivery,
          reason,
          attempts,
          lastOutcome,
          diedAtMs: this.#clock.nowMs(),
          history: this.#historyWith(entry, failure),
        });
      }
    }
  }

  #historyWith({ history }: Entry, failure: FailedAttempt | null): readonly RecordedAttempt[] {
    if (failure === null) return history;
    const { startedMs, durationMs, outcome } = failure;
    const agoMs = Math.max(0, Math.round(this.#clock.monotonicMs() - startedMs));
    const recorded = { startedAtMs: this.#clock.nowMs() - agoMs, durationMs, outcome };
    return [...history, recorded].slice(-HISTORY_MAX);
  }

  async release({ delivery }: Claimed): Promise<void> {
    const queue = this.#queue(delivery.endpoint);
    const entry = queue.entries.get(delivery.id);
    if (entry === undefined) return;
    entry.attempts -= 1;
    queue.fresh.set(delivery.id, entry);
    queue.condition.notifyAll();
  }

  /** Nothing else can replay dead letters in memory. */
  async forgetGone(_endpoint: string): Promise<void> {}

  async depth(endpoint: string): Promise<Depth> {
    const queue = this.#queue(endpoint);
    const nowMs = this.#clock.monotonicMs();
    let oldestDueForMs: number | null = null;
    for (const ready of [queue.fresh, queue.retries]) {
      for (const { dueAtMs } of ready.values()) {
        oldestDueForMs = Math.max(oldestDueForMs ?? 0, nowMs - dueAtMs);
      }
    }
    return {
      pending: queue.entries.size,
      oldestDueForMs,
      deadLetters: this.dead.count(endpoint),
      throttledForMs: this.#throttledForMs(queue),
      paused: queue.paused,
    };
  }

  /** The endpoints with pending deliveries, and their number. */
  *pendingEndpoints(): Iterable<readonly [endpoint: string, pending: number]> {
    for (const [endpoint, { entries }] of this.#queues) {
      if (entries.size > 0) yield [endpoint, entries.size];
    }
  }

  /** Dead-letters all pending deliveries of an unknown endpoint. Returns their number. */
  deadLetterAll(endpoint: string): number {
    const queue = this.#queue(endpoint);
    const entries = [...queue.entries.values()];
    for (const entry of entries) {
      entry.cancelWait?.();
      const dead = { kind: 'dead', reason: 'unknown_endpoint', lastOutcome: null } as const;
      this.#dispose(queue, entry, { ...dead, failure: null });
    }
    queue.fresh.clear();
    queue.retries.clear();
    return entries.length;
  }

  async close(): Promise<readonly Delivery[]> {
    this.#closed = true;
    const lost: Delivery[] = [];
    for (const queue of this.#queues.values()) {
      for (const { delivery, cancelWait } of queue.entries.values()) {
        cancelWait?.();
        lost.push(delivery);
      }
      queue.entries.clear();
      queue.fresh.clear();
      queue.retries.clear();
      queue.condition.notifyAll();
    }
    return lost;
  }

  #queue(endpoint: string): EndpointQueue {
    let queue = this.#queues.get(endpoint);
    if (queue === undefined) {
      queue = {
        entries: new Map(),
        fresh: new Map(),
        retries: new Map(),
        retryShare: new RetryShare(),
        condition: new Condition(),
        bodyBytes: 0,
        throttledUntilMs: 0,
        paused: null,
      };
      this.#queues.set(endpoint, queue);
    }
    return queue;
  }

  /** Stores a delivery; false: there is no room. */
  #admit(delivery: Delivery, isReplay: boolean): boolean {
    const queue = this.#queue(delivery.endpoint);
    if (queue.entries.has(delivery.id)) return true;
    if (queue.entries.size >= this.#limits.deliveriesMax) return false;
    if (queue.bodyBytes + delivery.body.length > this.#limits.bodyBytesMax) return false;
    const entry: Entry = {
      delivery,
      attempts: 0,
      history: [],
      isReplay,
      dueAtMs: this.#clock.monotonicMs(),
      cancelWait: null,
    };
    queue.entries.set(delivery.id, entry);
    queue.fresh.set(delivery.id, entry);
    queue.bodyBytes += delivery.body.length;
    queue.condition.notifyAll();
    return true;
  }

  #forget(queue: EndpointQueue, entry: Entry): void {
    queue.entries.delete(entry.delivery.id);
    queue.bodyBytes -= entry.delivery.body.length;
  }

  #wait(queue: EndpointQueue, entry: Entry, notBeforeMs: number): void {
    entry.dueAtMs = notBeforeMs;
    entry.cancelWait = this.#clock.after(notBeforeMs - this.#clock.monotonicMs(), () => {
      entry.cancelWait = null;
      queue.retries.set(entry.delivery.id, entry);
      queue.condition.notifyAll();
    });
  }

  /** Waits until a claim may succeed that could not before. */
  #waitForChange(queue: EndpointQueue, signal: AbortSignal): Promise<void> {
    const throttledForMs = this.#throttledForMs(queue);
    return queue.condition.wait(this.#clock, throttledForMs > 0 ? throttledForMs : null, signal);
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
