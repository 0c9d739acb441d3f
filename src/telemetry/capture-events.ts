/** Events of expirations, until the outbox has stored their deliveries. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import { printableBytes } from '../lib/printable.js';
import { messageOf, RelayError } from '../model/errors.js';
import type { Delivery, Expiration } from '../model/vocabulary.js';
import type { Metrics } from './metrics.js';
import { ThrottledCount } from './throttled-count.js';

export class CaptureEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #queueLoss: ThrottledCount;
  readonly #outboxLosses = new Map<string, ThrottledCount>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#queueLoss = new ThrottledCount(clock, (dropped) =>
      log.error(
        { event: 'queue_full', dropped },
        'the expiration queue is full; dropping notifications. Expirations of tracked keys are recovered later, ' +
          'others are lost. Check the latency of the state Redis',
      ),
    );
  }

  expired(
    expiration: Pick<Expiration, 'database' | 'key' | 'detectedBy'>,
    deliveries: readonly Delivery[],
  ): void {
    const routes = new Set(deliveries.map(({ route }) => route));
    for (const route of routes) {
      this.#metrics.expirations.inc({ route, detected_by: expiration.detectedBy });
    }
    if (!this.#log.isLevelEnabled('debug')) return;
    this.#log.debug(
      {
        event: 'expired',
        database: expiration.database,
        key: printableBytes(expiration.key),
        detected_by: expiration.detectedBy,
        routes: [...routes],
      },
      deliveries.length === 0 ? 'key expired; no route matches' : 'key expired',
    );
  }

  /** Redis published `expired` for a key that a command removed before its deadline. */
  removedEarly({ database, key }: Expiration, deadlineMs: number | null): void {
    if (!this.#log.isLevelEnabled('debug')) return;
    this.#log.debug(
      { event: 'removed_early', database, key: printableBytes(key), deadline_ms: deadlineMs },
      'a command removed the key before its deadline; no webhook is sent',
    );
  }

  expirationOversized(database: number, key: Uint8Array, keyBytesMax: number): void {
    this.#metrics.expirationsOversized.inc();
    this.#log.error(
      {
        event: 'expiration_oversized',
        database,
        key: printableBytes(key.subarray(0, keyBytesMax)),
        key_bytes: key.length,
        key_bytes_max: keyBytesMax,
      },
      'the expired key is too long; no webhook is sent. Exclude such keys from the routes',
    );
  }

  /** A route's request body for this expiration would be too large. */
  deliveriesOversized(
    { database, key }: Expiration,
    oversized: readonly Pick<Delivery, 'route' | 'endpoint'>[],
    bodyBytesMax: number,
  ): void {
    for (const { route, endpoint } of oversized) {
      this.#metrics.deliveriesOversized.inc({ endpoint });
      this.#log.error(
        {
          event: 'delivery_oversized',
          database,
          key: printableBytes(key),
          key_bytes: key.length,
          route,
          endpoint,
          body_bytes_max: bodyBytesMax,
        },
        'the body of the webhook is too large; the webhook is discarded. Lower value_max, or shorten the body',
      );
    }
  }

  /** Building the deliveries of an expiration failed. */
  unbuildable({ database, key }: Expiration, error: unknown): void {
    this.#metrics.internalErrors.inc();
    const line = { event: 'internal_error', database, key: printableBytes(key) };
    this.#log.error(
      { ...line, error: messageOf(error), stack: Object(error).stack },
      'unexpected error, a bug in the relay; the webhooks of this expiration are lost. Report this log line',
    );
  }

  /** The queue between source and outbox is full; an expiration is lost. */
  queueFull(): void {
    this.#metrics.expirationsDropped.inc();
    this.#queueLoss.add();
  }

  /** The outbox in memory is full; deliveries are lost. */
  outboxFull(dropped: readonly Delivery[]): void {
    for (const { endpoint } of dropped) {
      this.#metrics.deliveriesDropped.inc({ endpoint });
      this.#outboxLoss(endpoint).add();
    }
  }

  /** A dropped event only asks to read a deadline again: the next sweep does that. */
  keyChangeDropped(): void {
    this.#metrics.keyChangesDropped.inc();
  }

  /** An unavailable state Redis is also reported elsewhere, once. */
  captureFailed(error: unknown, queued: number, retryInMs: number): void {
    if (!(error instanceof RelayError)) this.#metrics.internalErrors.inc();
    const stack = error instanceof RelayError ? undefined : Object(error).stack;
    this.#log.error(
      { event: 'capture_failed', error: messageOf(error), stack, queued, retry_in_ms: retryInMs },
      'cannot store expirations; retrying. Check the state Redis',
    );
  }

  /** `count` keys were found missing after their deadlines, without a notification. */
  recovered(count: number): void {
    this.#log.warn(
      { event: 'expirations_recovered', count },
      'recovered missed expirations; their webhooks have detected_by: recovery',
    );
  }

  /** This replica has lost the lease, because its process was paused or cut off. */
  leaseLost(queued: number): void {
    this.#log.warn(
      { event: 'lease_lost', queued },
      'lost the lease; returning queued notifications to the replay buffer',
    );
  }

  /** The relay stops before the outbox has stored these expirations. */
  abandoned(expirations: number): void {
    this.#log.error(
      { event: 'capture_abandoned', expirations },
      'stopped before all expirations were stored; expirations of tracked keys are recovered at the next start, ' +
        'others are lost. Check the state Redis',
    );
  }

  /** Logs pending counts of losses; call once, at the end. */
  flush(): void {
    this.#queueLoss.flush();
    for (const loss of this.#outboxLosses.values()) loss.flush();
  }

  #outboxLoss(endpoint: string): ThrottledCount {
    let loss = this.#outboxLosses.get(endpoint);
    if (loss === undefined) {
      loss = new ThrottledCount(this.#clock, (dropped) =>
        this.#log.error(
          { event: 'outbox_full', endpoint, dropped },
          'the outbox in memory is full; discarding webhooks. Set state.kind: redis to keep more',
        ),
      );
      this.#outboxLosses.set(endpoint, loss);
    }
    return loss;
  }
}
