/** What becomes of expirations, until the outbox has them. */
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Metrics } from '../metrics.js';
import { printableBytes } from '../printable.js';
import type { Delivery, Expiration } from '../vocabulary.js';

/** While an outbox overflows, there is one line for so long. */
const OVERFLOW_LINE_EVERY_MS = 10_000;

/** The queue before the outbox, or the outbox itself. */
type OverflowPlace = 'capture' | 'outbox';

/** The losses of one endpoint since its last line. */
interface Overflow {
  readonly place: OverflowPlace;
  count: number;
  readonly cancel: () => void;
}

export class CaptureEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #overflows = new Map<string, Overflow>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
  }

  expired(expiration: Expiration, deliveries: readonly Delivery[]): void {
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

  /** The queue between the source and the outbox is full. */
  captureFull(dropped: readonly Delivery[]): void {
    for (const { endpoint } of dropped) this.#dropped(endpoint, 'capture');
  }

  /** The outbox in memory is full. */
  outboxFull(refused: readonly Delivery[]): void {
    for (const { endpoint } of refused) this.#dropped(endpoint, 'outbox');
  }

  enqueueFailed(error: unknown, deliveries: number, retryInMs: number): void {
    this.#log.error(
      { event: 'enqueue_failed', error: messageOf(error), deliveries, retry_in_ms: retryInMs },
      'the outbox could not be written; trying again',
    );
  }

  /** Says what has not been said yet of an overflow; nothing is dropped afterwards. */
  ended(): void {
    for (const endpoint of this.#overflows.keys()) this.#endOverflow(endpoint);
  }

  /** The first loss is said at once, those that follow in one line for each while. */
  #dropped(endpoint: string, place: OverflowPlace): void {
    this.#metrics.deliveriesDropped.inc({ endpoint });
    const overflow = this.#overflows.get(endpoint);
    if (overflow !== undefined) {
      overflow.count += 1;
      return;
    }
    this.#logOverflow(endpoint, place, 1);
    const cancel = this.#clock.after(OVERFLOW_LINE_EVERY_MS, () => this.#endOverflow(endpoint));
    this.#overflows.set(endpoint, { place, count: 0, cancel });
  }

  #endOverflow(endpoint: string): void {
    const overflow = this.#overflows.get(endpoint);
    if (overflow === undefined) return;
    overflow.cancel();
    this.#overflows.delete(endpoint);
    if (overflow.count > 0) this.#logOverflow(endpoint, overflow.place, overflow.count);
  }

  #logOverflow(endpoint: string, place: OverflowPlace, dropped: number): void {
    this.#log.error(
      { event: 'outbox_full', endpoint, place, dropped },
      'the outbox in memory is full: webhooks are lost',
    );
  }
}
