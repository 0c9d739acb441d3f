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
        'keys expire faster than they can be taken: those whose deadlines are known are found ' +
          'again, the others are lost',
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
      deliveries.length === 0 ? 'a key expired that no route matches' : 'a key expired',
    );
  }

  /** Redis published `expired` for a key that a command removed before its deadline. */
  removedEarly({ database, key }: Expiration, deadlineMs: number | null): void {
    if (!this.#log.isLevelEnabled('debug')) return;
    this.#log.debug(
      { event: 'removed_early', database, key: printableBytes(key), deadline_ms: deadlineMs },
      'a command removed a key before its deadline, which this server publishes as expired: no webhook',
    );
  }

  expirationRefused(database: number, key: Uint8Array, keyBytesMax: number): void {
    this.#metrics.expirationsRefused.inc();
    this.#log.error(
      {
        event: 'expiration_refused',
        database,
        key: printableBytes(key.subarray(0, keyBytesMax)),
        key_bytes: key.length,
        key_bytes_max: keyBytesMax,
      },
      'a key expired that is too long to be sent: no webhook',
    );
  }

  /** A route's request body for this expiration would be too large. */
  deliveriesRefused(
    { database, key }: Expiration,
    refused: readonly Pick<Delivery, 'route' | 'endpoint'>[],
    bodyBytesMax: number,
  ): void {
    for (const { route, endpoint } of refused) {
      this.#metrics.deliveriesRefused.inc({ endpoint });
      this.#log.error(
        {
          event: 'delivery_refused',
          database,
          key: printableBytes(key),
          key_bytes: key.length,
          route,
          endpoint,
          body_bytes_max: bodyBytesMax,
        },
        'the body of a webhook would be too large to be sent: it is lost',
      );
    }
  }

  /** Building the deliveries of an expiration failed. */
  unbuildable({ database, key }: Expiration, error: unknown): void {
    this.#metrics.internalErrors.inc();
    const line = { event: 'internal_error', database, key: printableBytes(key) };
    this.#log.error(
      { ...line, error: messageOf(error), stack: Object(error).stack },
      'an unexpected error, which is a bug in the relay: the webhooks of this expiration are lost. Please ' +
        'report it with this line',
    );
  }

  /** The queue between source and outbox is full; an expiration is lost. */
  queueFull(): void {
    this.#metrics.expirationsDropped.inc();
    this.#queueLoss.add();
  }

  /** The outbox in memory is full; deliveries are lost. */
  outboxFull(refused: readonly Delivery[]): void {
    for (const { endpoint } of refused) {
      this.#metrics.deliveriesDropped.inc({ endpoint });
      this.#outboxLoss(endpoint).add();
    }
  }

  /** A key event was dropped that only asks to read a deadline again: the next sweep does that. */
  noticeDropped(): void {
    this.#metrics.noticesDropped.inc();
  }

  /** An unavailable state Redis is also reported elsewhere, once. */
  captureFailed(error: unknown, queued: number, retryInMs: number): void {
    if (!(error instanceof RelayError)) this.#metrics.internalErrors.inc();
    const stack = error instanceof RelayError ? undefined : Object(error).stack;
    this.#log.error(
      { event: 'capture_failed', error: messageOf(error), stack, queued, retry_in_ms: retryInMs },
      'what expired could not be stored; trying again',
    );
  }

  /** `count` keys were found missing after their deadlines, without a notification. */
  recovered(count: number): void {
    this.#log.warn(
      { event: 'recovered', count },
      'found keys that expired unheard: their webhooks say detected_by: recovery',
    );
  }

  /** This replica has lost the lease, because its process was paused or cut off. */
  fenced(queued: number): void {
    this.#log.warn(
      { event: 'fenced', queued },
      'another replica captures by now: what was heard is left to it',
    );
  }

  /** The relay stops before the outbox has stored these expirations. */
  abandoned(expirations: number): void {
    this.#log.error(
      { event: 'capture_abandoned', expirations },
      'the outbox could not be written before the stop: of these, only the keys whose deadlines were ' +
        'known are found again',
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
          'the outbox in memory is full: webhooks are lost',
        ),
      );
      this.#outboxLosses.set(endpoint, loss);
    }
    return loss;
  }
}
