/**
 * Turns each expiration into its deliveries and puts them into the outbox. The source must never
 * wait, so there is a bounded queue between the two.
 */
import type { Chance, Clock } from '../clock.js';
import type { CaptureEvents } from '../events/capture-events.js';
import type { Outbox } from '../outbox/outbox.js';
import type { Delivery, Expiration, Route } from '../vocabulary.js';
import { buildDeliveries } from './build.js';

/** Redis allows keys of 512 MiB; a body that carries one is no webhook. */
export const KEY_BYTES_MAX = 1024 * 1024;

/** Expirations between the source and the outbox: several seconds of a fast server's. */
const QUEUED_MAX = 200_000;

/** The keys of these, together. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

/** Deliveries that one enqueue stores; a few more where one expiration has several. */
const BATCH_MAX = 500;

/** How long deliveries are built before the rest of the process has its turn. */
const SLICE_MS = 5;

const RETRY_FIRST_MS = 100;
const RETRY_MS_MAX = 5_000;

export interface CaptureParts {
  readonly routes: readonly Route[];
  readonly outbox: Outbox;
  readonly events: CaptureEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

export class Capture {
  readonly #parts: CaptureParts;
  readonly #abandon = new AbortController();
  #queue: Expiration[] = [];
  #queuedBytes = 0;
  /** Deliveries that the outbox had not taken when it was given up. */
  #unstored = 0;
  /** The emptying of the queue, while it goes on. */
  #storing: Promise<void> | null = null;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
  }

  /** Takes note of an expiration and returns at once: the source must go on reading. */
  expired(expiration: Expiration): void {
    const { events } = this.#parts;
    const { database, key } = expiration;
    if (key.length > KEY_BYTES_MAX) {
      return events.expirationRefused(database, key, KEY_BYTES_MAX);
    }
    const fits =
      this.#queue.length < QUEUED_MAX && this.#queuedBytes + key.length <= QUEUED_BYTES_MAX;
    if (!fits) return events.queueFull();
    this.#queue.push(expiration);
    this.#queuedBytes += key.length;
    this.#storing ??= this.#store();
  }

  /** How many expirations are yet to be stored. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Resolves when all that was noted is in the outbox; an abort gives up and says what is lost. */
  async stop(signal: AbortSignal): Promise<void> {
    if (signal.aborted) this.#abandon.abort();
    signal.addEventListener('abort', () => this.#abandon.abort(), { once: true });
    await this.#storing;
    const { events } = this.#parts;
    if (this.#unstored + this.#queue.length > 0) {
      events.abandoned(this.#unstored, this.#queue.length);
    }
    events.ended();
  }

  async #store(): Promise<void> {
    while (this.#queue.length > 0 && !this.#abandon.signal.aborted) {
      await this.#parts.clock.turn();
      const deliveries = this.#buildSlice();
      if (deliveries.length > 0) await this.#enqueue(deliveries);
    }
    this.#storing = null;
  }

  /** Takes expirations off the queue, for a short while, and makes their deliveries. */
  #buildSlice(): Delivery[] {
    const { routes, events, clock, chance } = this.#parts;
    const endMs = clock.monotonicMs() + SLICE_MS;
    const slice: Delivery[] = [];
    let taken = 0;
    for (const expiration of this.#queue) {
      const deliveries = buildDeliveries(expiration, routes, chance.token());
      events.expired(expiration, deliveries);
      slice.push(...deliveries);
      this.#queuedBytes -= expiration.key.length;
      taken += 1;
      if (slice.length >= BATCH_MAX || clock.monotonicMs() >= endMs) break;
    }
    this.#queue.splice(0, taken);
    return slice;
  }

  /** Repeats until the outbox has answered: a repeat stores nothing twice. */
  async #enqueue(batch: readonly Delivery[]): Promise<void> {
    const { outbox, events, clock } = this.#parts;
    for (let retryInMs = RETRY_FIRST_MS; !this.#abandon.signal.aborted; ) {
      try {
        events.outboxFull(await outbox.enqueue(batch));
        return;
      } catch (error) {
        events.enqueueFailed(error, batch.length, retryInMs);
        await clock.sleep(retryInMs, this.#abandon.signal);
        retryInMs = Math.min(retryInMs * 2, RETRY_MS_MAX);
      }
    }
    this.#unstored += batch.length;
  }
}
