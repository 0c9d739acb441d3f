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

/** Deliveries between the source and the outbox: a second or so of a fast server's expirations. */
const QUEUED_MAX = 50_000;

/** The bodies of these, together. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

/** Deliveries that one enqueue stores. */
const BATCH_MAX = 500;

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
  #queue: Delivery[] = [];
  #queuedBytes = 0;
  /** The emptying of the queue, while it goes on. */
  #storing: Promise<void> | null = null;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
  }

  /** Takes note of an expiration and returns at once. */
  expired(expiration: Expiration): void {
    const { routes, events, chance } = this.#parts;
    if (expiration.key.length > KEY_BYTES_MAX) {
      return events.expirationRefused(expiration.database, expiration.key, KEY_BYTES_MAX);
    }
    const deliveries = buildDeliveries(expiration, routes, chance.token());
    events.expired(expiration, deliveries);
    if (deliveries.length === 0) return;
    const bytes = deliveries.reduce((sum, { body }) => sum + body.length, 0);
    const fits =
      this.#queue.length + deliveries.length <= QUEUED_MAX &&
      this.#queuedBytes + bytes <= QUEUED_BYTES_MAX;
    if (!fits) return events.captureFull(deliveries);
    this.#queue.push(...deliveries);
    this.#queuedBytes += bytes;
    this.#storing ??= this.#store();
  }

  /** Resolves when all that was noted is in the outbox; gives up when the signal aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    if (signal.aborted) this.#abandon.abort();
    signal.addEventListener('abort', () => this.#abandon.abort(), { once: true });
    await this.#storing;
    this.#parts.events.ended();
  }

  async #store(): Promise<void> {
    while (this.#queue.length > 0 && !this.#abandon.signal.aborted) {
      const batch = this.#queue.slice(0, BATCH_MAX);
      await this.#enqueue(batch);
      this.#queue = this.#queue.slice(batch.length);
      this.#queuedBytes -= batch.reduce((sum, { body }) => sum + body.length, 0);
    }
    this.#storing = null;
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
  }
}
